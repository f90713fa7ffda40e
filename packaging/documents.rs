//! The manual pages and the completions of a command line, as they lie below `/usr/share`. Both programs have this
//! file as a module; packaging/build asks each of them for its own.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// The program.
const NAME: &str = env!("CARGO_BIN_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes them below `share`: a page for the command and each subcommand in `section` of the manual, and completions
/// for bash, zsh and fish where the packages of these shells look for them.
///
/// # Errors
/// A directory or file cannot be written.
pub(crate) fn write(command: Command, section: &str, share: &Path) -> io::Result<()> {
    for (shell, directory) in [
        (Shell::Bash, "bash-completion/completions"),
        (Shell::Zsh, "zsh/vendor-completions"),
        (Shell::Fish, "fish/vendor_completions.d"),
    ] {
        fs::create_dir_all(share.join(directory))?;
        let written = clap_complete::generate_to(shell, &mut without_hidden(&command), NAME, share.join(directory))?;
        if shell == Shell::Bash {
            // bash-completion loads the file of the command's own name.
            fs::rename(&written, written.with_file_name(NAME))?;
        }
    }
    let pages = share.join(format!("man/man{section}"));
    fs::create_dir_all(&pages)?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let source = format!("{NAME} {VERSION}");
    page(&command, section, &source, &pages)
}

/// The command without what its programs alone start: completions would offer it.
fn without_hidden(command: &Command) -> Command {
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set()).cloned();
    let bare = Command::new(NAME).version(VERSION);
    bare.args(command.get_arguments().cloned()).subcommands(shown)
}

fn page(command: &Command, section: &str, source: &str, pages: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        page(below, section, source, pages)?;
    }
    let man = Man::new(command.clone()).section(section).source(source).manual("Vitrine");
    let mut file = File::create(pages.join(man.get_filename()))?;
    man.render_title(&mut file)?;
    man.render_name_section(&mut file)?;
    man.render_synopsis_section(&mut file)?;
    man.render_description_section(&mut file)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut file)?;
    }
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        man.render_subcommands_section(&mut file)?;
    }
    let mut rest = Roff::new();
    if let Some(text) = command.get_after_help() {
        rest_of_help(&text.to_string(), &mut rest);
    }
    rest.to_writer(&mut file)
}

/// What stands behind the options, in the sections of man-pages(7); indented lines keep their line ends.
fn rest_of_help(text: &str, roff: &mut Roff) {
    let (mut section, mut is_verbatim) = ("", false);
    for line in text.lines() {
        let status = line.strip_prefix("Exit status: ");
        let is_indented = line.starts_with("  ");
        if is_indented != is_verbatim {
            roff.control(if is_indented { "nf" } else { "fi" }, []);
            is_verbatim = is_indented;
        }
        let begins = match line {
            "Examples:" | "Example:" => "EXAMPLES",
            _ if status.is_some() => "EXIT STATUS",
            _ if is_indented || line.is_empty() || section == "NOTES" => section,
            _ => "NOTES",
        };
        if begins != section {
            roff.control("SH", [begins]);
            section = begins;
        }
        if !matches!(line, "" | "Examples:" | "Example:") {
            roff.text([roman(status.unwrap_or(line))]);
        }
    }
    if is_verbatim {
        roff.control("fi", []);
    }
}
