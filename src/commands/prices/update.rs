//! `tollgate prices update`: installs a newer price table, and says what changes with it.

use std::fs;
use std::io::{Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Url;
use reqwest::redirect::Policy;
use serde_json::json;

use super::Format;
use crate::exit::{self, Failure};
use crate::pipeline::prices::{self, Here, TABLE_BYTES_MAX};
use crate::price::{Change, Table, changes};

/// How long the table may take to come.
const FETCH_MAX: Duration = Duration::from_secs(30);

/// The arguments of `tollgate prices update`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The newer table: an https address, or a file; `-` for stdin
    #[arg(value_name = "FROM")]
    pub from: String,
    /// Say what would change, and install nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to write the changes
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Runs the command.
///
/// # Errors
/// A [`Failure`] with exit code 2 for a table that cannot be had, or that is no good; another error where it
/// cannot be installed.
pub(super) async fn run(
    args: &Args,
    here: &Here<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let wrong = |problem: String| Failure::usage(format!("the price table of {}: {problem}", args.from));
    let text = text(&args.from).await.map_err(wrong)?;
    let newer = Table::parse(&text).map_err(|error| wrong(error.to_string()))?;
    if here.today.tomorrow().is_ok_and(|tomorrow| newer.as_of() > tomorrow) {
        return Err(wrong(format!("it is of {}, a day to come", newer.as_of())).into());
    }
    let path = prices::place(here)?.ok_or_else(|| {
        Failure::usage("there is no home to keep it in\n\nhint: set TOLLGATE_PRICES to an absolute path")
    })?;
    // One that is no good any more is replaced all the same.
    let old = prices::installed(here).ok().flatten();
    let (before, whose) = match &old {
        Some(old) => (&old.table, "installed"),
        None => (Table::embedded(), "built-in"),
    };
    if newer.as_of() < Table::embedded().as_of() {
        return Err(wrong(format!(
            "it is of {}, older than the built-in one of {}, and would not count",
            newer.as_of(),
            Table::embedded().as_of()
        ))
        .into());
    }
    if newer.as_of() < before.as_of() {
        writeln!(err, "note: it is of {}, and the {whose} one of {}", newer.as_of(), before.as_of())?;
    }
    let found = changes(before, &newer);
    show(&found, args.format, out)?;
    let digest = prices::digest(text.as_bytes());
    let count = match found.len() {
        0 => "no changes".to_owned(),
        1 => "1 change".to_owned(),
        more => format!("{more} changes"),
    };
    writeln!(err, "{count} from the {whose} table of {}", before.as_of())?;
    if args.dry_run {
        writeln!(err, "nothing was installed; its digest is sha256:{digest}")?;
        return Ok(exit::PASS);
    }
    install(&path, &text).with_context(|| format!("{} cannot be written", path.display()))?;
    writeln!(
        err,
        "installed as {}\n\nhint: on a runner it counts where the budget file says `prices: {{ table: \
         sha256:{digest} }}`; what it makes cheaper counts only with `cheaper: allow` beside that",
        path.display()
    )?;
    Ok(exit::PASS)
}

fn show(changes: &[Change], format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    for change in changes {
        match format {
            Format::Text => writeln!(out, "{change}")?,
            Format::Json => {
                let line = json!({
                    "change": change.direction.as_str(), "what": change.what, "from": change.from,
                    "until": change.until, "detail": change.detail,
                });
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(())
}

/// The table's text.
async fn text(from: &str) -> Result<String, String> {
    if from.contains("://") {
        return fetched(from).await;
    }
    let mut text = String::new();
    let read = if from == "-" {
        std::io::stdin().lock().take(TABLE_BYTES_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(from).and_then(|file| file.take(TABLE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(text)
}

async fn fetched(address: &str) -> Result<String, String> {
    let url = Url::parse(address).map_err(|error| format!("it is no address: {error}"))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
        return Err("only https is fetched: on another way somebody could change the prices".to_owned());
    }
    let said = |error: reqwest::Error| format!("it cannot be fetched: {}", error.without_url());
    let client = reqwest::Client::builder()
        .timeout(FETCH_MAX)
        .https_only(!loopback)
        .redirect(if loopback { Policy::none() } else { Policy::limited(3) })
        .build()
        .map_err(said)?;
    let mut answer = client.get(url).send().await.map_err(said)?;
    if !answer.status().is_success() {
        return Err(format!("it cannot be fetched: the answer is {}", answer.status()));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(said)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 >= TABLE_BYTES_MAX {
            return Err(format!("it is longer than {TABLE_BYTES_MAX} bytes"));
        }
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// Writes the file whole or not at all, for its owner only.
fn install(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", crate::id::random_hex(6)));
    let beside = path.with_file_name(name);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| fs::rename(&beside, path));
    if renamed.is_err() {
        drop(fs::remove_file(&beside));
    }
    renamed
}
