//! The user's side of the socket.

use std::io::{self, BufRead, BufReader, Read, Take, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::{Answer, Request, socket};

/// Where the agent of an installed system keeps its state, whoever asks.
const INSTALLED: &str = "/var/lib/vitrine";
/// Longest line of an answer, in bytes.
const LONGEST: u64 = 256 * 1024;

/// Why the agent does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// There is none, or it is not for this user.
    #[error(
        "the agent cannot be asked at {path}: {source}; is it running? `vitrine status` tells, and an agent with \
         another state directory is found with --state"
    )]
    Away { path: PathBuf, source: io::Error },
    /// It hung up.
    #[error("the agent gave no answer ({0}); it answers a few questions of one user at a time: ask again")]
    Broken(#[from] io::Error),
    /// Another version.
    #[error("the agent's answer cannot be understood ({0}); is it of another version? `systemctl restart vitrine`")]
    Malformed(#[from] serde_json::Error),
    /// It says no.
    #[error("{0}")]
    Refused(String),
}

/// The answers to one question.
pub(crate) struct Answers {
    lines: Take<BufReader<UnixStream>>,
}

/// Asks the agent whose state is in `state`, or else the one that is installed.
pub(crate) fn ask(state: &Path, request: &Request) -> Result<Answers, DeskError> {
    let (own, installed) = (socket(state), socket(Path::new(INSTALLED)));
    let connected = UnixStream::connect(&own).or_else(|error| UnixStream::connect(installed).map_err(|_| error));
    let mut stream = connected.map_err(|source| DeskError::Away { path: own, source })?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(Answers { lines: BufReader::new(stream).take(0) })
}

impl Iterator for Answers {
    type Item = Result<Answer, DeskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.lines.set_limit(LONGEST);
        let mut line = Vec::new();
        match self.lines.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(match serde_json::from_slice(&line) {
                Ok(Answer::Refused(why)) => Err(DeskError::Refused(why)),
                Ok(answer) => Ok(answer),
                Err(error) => Err(error.into()),
            }),
            Err(error) => Some(Err(error.into())),
        }
    }
}
