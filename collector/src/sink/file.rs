//! NDJSON in files. A batch is on the disk when it counts as delivered; a line that a crash has torn is taken away
//! before the next one is written, because its record comes again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::DeliverError;
use crate::config::{self, ConfigError, mistake};

/// Smallest file that it pays to begin another one after.
const SMALLEST: u64 = 64 << 10;
/// How much is read at once in search of the last line break.
const BLOCK: u64 = 64 << 10;

/// The file that is written, and those before it: `NAME.1` is the newest of them.
pub(super) struct Log {
    path: PathBuf,
    max_bytes: u64,
    files: u16,
    open: Option<(File, u64)>,
}

impl Log {
    pub(super) fn new(config: &config::File, data: &Path) -> Result<Log, ConfigError> {
        if config.path.file_name().is_none() {
            let reason = format!("[[sink]] {:?}: path = {:?} names no file", config.name, config.path.display());
            return Err(mistake(data, reason));
        }
        if config.max_bytes < SMALLEST {
            let reason = format!("[[sink]] {:?}: max-bytes = {} is below {SMALLEST}", config.name, config.max_bytes);
            return Err(mistake(data, reason));
        }
        let path = data.join(&config.path);
        Ok(Log { path, max_bytes: config.max_bytes, files: config.files.get(), open: None })
    }

    /// Appends lines; they are on the disk on return. After an error none of them may count as written.
    pub(super) fn append<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> Result<(), DeliverError> {
        self.try_append(lines).map_err(|error| {
            // What is half written is mended when the file is opened again.
            self.open = None;
            DeliverError::Io { what: format!("{} cannot be written", self.path.display()), error }
        })
    }

    fn try_append<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> io::Result<()> {
        if self.open.is_some() && !self.is_still_there()? {
            self.open = None;
        }
        let mut text = Vec::new();
        for line in lines {
            let length = self.opened()?.1 + text.len() as u64;
            if length > 0 && length + line.len() as u64 + 1 > self.max_bytes {
                self.write(&text)?;
                text.clear();
                self.rotate()?;
            }
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        self.write(&text)
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let (file, length) = self.opened()?;
        file.write_all(text)?;
        file.sync_data()?;
        *length += text.len() as u64;
        Ok(())
    }

    /// Whether nobody has moved, cut off or removed the file: logrotate does.
    fn is_still_there(&self) -> io::Result<bool> {
        let Some((file, length)) = &self.open else {
            return Ok(false);
        };
        let ours = file.metadata()?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino(), there.len()) == (ours.dev(), ours.ino(), *length)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn opened(&mut self) -> io::Result<&mut (File, u64)> {
        if self.open.is_none() {
            if let Ok(there) = fs::symlink_metadata(&self.path)
                && !there.is_file()
            {
                return Err(io::Error::other("it is no regular file: name one that is, or none that is there"));
            }
            let made = !self.path.exists();
            let mut options = OpenOptions::new();
            let mut file = options.read(true).append(true).create(true).mode(0o640).open(&self.path)?;
            let length = mend(&mut file)?;
            if made {
                self.sync_directory()?;
            }
            self.open = Some((file, length));
        }
        self.open.as_mut().ok_or_else(|| io::Error::other("not open"))
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        let numbered = |number: u16| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.files).rev() {
            let from = if number == 1 { self.path.clone() } else { numbered(number - 1) };
            match fs::rename(&from, numbered(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.files == 1 {
            fs::remove_file(&self.path)?;
        }
        self.sync_directory()
    }

    fn sync_directory(&self) -> io::Result<()> {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// Cuts off what stands behind the last line break; gives the length.
fn mend(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut block)?;
        if let Some(last) = block.iter().rposition(|byte| *byte == b'\n') {
            end = start + last as u64 + 1;
            break;
        }
        end = start;
    }
    if end < length {
        tracing::warn!(bytes = length - end, "a line that was written only in part was taken away; it comes again");
        file.set_len(end)?;
        file.sync_data()?;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::Log;

    fn log(directory: &Path, files: u16) -> Log {
        Log { path: directory.join("log"), max_bytes: 100, files, open: None }
    }

    fn read(directory: &Path, name: &str) -> String {
        fs::read_to_string(directory.join(name)).unwrap()
    }

    #[test]
    fn a_torn_line_goes_and_what_stood_before_it_stays() {
        for (before, after) in [
            ("one\ntwo\nthr", "one\ntwo\nnew\n".to_owned()),
            ("torn", "new\n".to_owned()),
            ("", "new\n".to_owned()),
            ("whole\n", "whole\nnew\n".to_owned()),
            (&format!("one\n{}", "x".repeat(200_000)), "one\nnew\n".to_owned()),
        ] {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("log"), before).unwrap();
            log(directory.path(), 3).append(["new"].into_iter()).unwrap();
            assert_eq!(read(directory.path(), "log"), after);
        }
    }

    #[test]
    fn a_file_that_is_full_is_followed_by_the_next_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), 3);
        let lines: Vec<String> = (0..12).map(|n| format!("{n:039}")).collect();
        log.append(lines.iter().map(String::as_str)).unwrap();
        let two = |n: usize| format!("{n:039}\n{:039}\n", n + 1);
        assert_eq!(read(directory.path(), "log"), two(10));
        assert_eq!(read(directory.path(), "log.1"), two(8));
        assert_eq!(read(directory.path(), "log.2"), two(6));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
        // A line that no file has room for is not split.
        log.append([&"y".repeat(300)[..], "z"].into_iter()).unwrap();
        assert_eq!(read(directory.path(), "log.1"), format!("{}\n", "y".repeat(300)));
        assert_eq!(read(directory.path(), "log"), "z\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), 3);
        log.append(["one"].into_iter()).unwrap();
        fs::rename(directory.path().join("log"), directory.path().join("moved")).unwrap();
        log.append(["two"].into_iter()).unwrap();
        assert_eq!(read(directory.path(), "moved"), "one\n");
        assert_eq!(read(directory.path(), "log"), "two\n");
        // Cut off in its place, as `logrotate` does with `copytruncate`.
        fs::write(directory.path().join("log"), "").unwrap();
        log.append(["three"].into_iter()).unwrap();
        assert_eq!(read(directory.path(), "log"), "three\n");
    }

    #[test]
    fn a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", directory.path().join("log")).unwrap();
        let error = log(directory.path(), 3).append(["one"].into_iter()).unwrap_err().to_string();
        assert!(error.contains("no regular file"), "{error}");
    }
}
