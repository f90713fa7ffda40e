//! The agent's side of the socket. Everybody may connect, so everything is bounded: how many, how long, how much.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::{Answer, Asker, Desk, Request, Told};
use crate::approval::Approvals;

/// Connections of one user at a time.
const EACH: usize = 8;
/// Connections of all users but root at a time.
const ALL: usize = 256;
/// Longest question, in bytes.
const QUESTION: u64 = 8 * 1024;
/// Longest time to ask, and to take one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nobody is let in when that failed, as it does where descriptors are short.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the socket for everybody. An older one is of an agent that is gone: the spool has one agent at a time.
///
/// # Errors
/// The state directory cannot be written, or its path is longer than that of a socket can be (unix(7): 107 bytes).
pub(crate) fn open(socket: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Answers what the desk does not know by itself. It may wait for a disk.
pub(crate) type Slowly = Arc<dyn Fn(Asker, Request) -> Answer + Send + Sync>;

/// Answers everybody who comes, until the agent ends.
pub(crate) async fn serve(listener: UnixListener, desk: Arc<Desk>, approvals: Arc<Approvals>, slowly: Slowly) {
    let seats = Seats::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(peer) = stream.peer_cred() else { continue };
                // Who has too many hears nothing but the end.
                let Some(seat) = seats.take(peer.uid()) else { continue };
                let (desk, approvals, slowly) = (desk.clone(), approvals.clone(), slowly.clone());
                tokio::spawn(async move {
                    // Who hangs up or is too slow has lost his answer, and nobody else anything.
                    let asker = Asker { pid: peer.pid(), ..Asker::new(seat.uid) };
                    let _ = attend(stream, asker, &desk, &approvals, &slowly).await;
                    drop(seat);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn attend(
    stream: UnixStream,
    asker: Asker,
    desk: &Desk,
    approvals: &Approvals,
    slowly: &Slowly,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(QUESTION));
    let mut line = Vec::new();
    timeout(PATIENCE, read.read_until(b'\n', &mut line)).await??;
    let request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => return say(&mut write, &Answer::Refused(format!("not a question that is known: {error}"))).await,
    };
    match request {
        Request::Why { all: true } if !asker.is_owner => {
            let why = "only root may ask what was refused to others; run it with sudo, or without --all";
            say(&mut write, &Answer::Refused(why.to_owned())).await
        }
        Request::Why { all } => {
            for told in desk.told_to(asker, all) {
                let approval = approvals.of(told.uid, &told.id);
                let told = Told { approval, ..told.as_ref().clone() };
                say(&mut write, &Answer::Told(Box::new(told))).await?;
            }
            Ok(())
        }
        request
        @ (Request::Place { .. } | Request::Look { .. } | Request::Justify { .. } | Request::Maintenance(_)) => {
            let slowly = slowly.clone();
            // The seat is taken until it is done: whoever has a disk that hangs holds up himself.
            let answer = tokio::task::spawn_blocking(move || slowly(asker, request)).await?;
            say(&mut write, &answer).await
        }
        Request::Watch => {
            let mut news = desk.news.subscribe();
            loop {
                let told = tokio::select! {
                    told = news.recv() => told,
                    // Nothing more is to be asked: he has hung up.
                    _ = read.read_u8() => return Ok(()),
                };
                match told {
                    Ok(told) if asker.owns(told.uid()) => say(&mut write, &told.answer()).await?,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(()),
                }
            }
        }
    }
}

async fn say(write: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    timeout(PATIENCE, write.write_all(&line)).await?
}

/// Who is there, by user.
#[derive(Clone, Default)]
struct Seats(Arc<Mutex<HashMap<u32, usize>>>);

/// One connection.
struct Seat {
    uid: u32,
    seats: Seats,
}

impl Seats {
    fn take(&self, uid: u32) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // However many users hold a connection open, root gets his.
        let all: usize = taken.iter().filter(|(uid, _)| **uid != 0).map(|(_, own)| own).sum();
        if uid != 0 && all >= ALL || taken.get(&uid).is_some_and(|own| *own >= EACH) {
            return None;
        }
        *taken.entry(uid).or_default() += 1;
        Some(Seat { uid, seats: self.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_seat_however_many_others_there_are() {
        let seats = Seats::default();
        let taken: Vec<Seat> =
            (1..=40).flat_map(|uid| std::iter::from_fn(|| seats.take(uid)).collect::<Vec<_>>()).collect();
        assert_eq!(taken.len(), ALL);
        assert!(seats.take(50).is_none());
        let of_root: Vec<Seat> = std::iter::from_fn(|| seats.take(0)).collect();
        assert_eq!(of_root.len(), EACH);
        drop(taken);
        assert!(seats.take(50).is_some());
    }
}
