//! The process that stays: it has the keys, runs the meter until it is told to end, and writes down what it
//! has counted.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sealed::{Handle, Key};
use super::state::{self, State};
use super::{COUNT, Counted, STATE};
use crate::agent::output::Redactor;
use crate::agent::process::harden;
use crate::cli::Shell;
use crate::exit;
use crate::pipeline::start;
use crate::pipeline::upstream::Upstream;
use crate::report::defuse;
use crate::supervise::{self, Signals};

/// The longest hand-over, in bytes: an environment is shorter.
const HANDOVER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What `start` hands to the process that stays, through its standard input.
#[derive(Serialize, Deserialize)]
pub(super) struct Handover {
    pub(super) folder: PathBuf,
    pub(super) key: String,
    pub(super) env: BTreeMap<String, String>,
}

/// What that process says once it takes requests.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) url: String,
    pub(super) token: String,
    pub(super) isolation: String,
    /// Whose APIs it serves.
    pub(super) vendors: Vec<String>,
}

/// Runs the meter that `tollgate start` leaves behind, until a signal ends it or its lease is over.
///
/// # Errors
/// When what it is handed cannot be used, or what it has counted cannot be written.
pub async fn attend(shell: &mut Shell, input: impl Read) -> anyhow::Result<u8> {
    // A session of its own, so that what ends the step that started it does not end it. That it leads one
    // already is as good.
    let _ = rustix::process::setsid();
    let mut signals = Signals::catch().context("signals cannot be caught")?;
    let mut text = Vec::new();
    input.take(HANDOVER_BYTES_MAX).read_to_end(&mut text).context("the hand-over cannot be read")?;
    let Handover { folder, key, env } = serde_json::from_slice(&text).context("the hand-over")?;
    let handle = Handle { folder, key: Key::read(&key).context("the hand-over has no key")? };
    let state: State = handle.value(STATE)?;
    let surroundings = state::silent(env);
    let premise = state.premise(None, &surroundings)?;
    let upstream = match state.simulate {
        true => Upstream::simulated().await?,
        false => {
            Upstream::of(premise.story().preset(), &surroundings, &[])?.context("the hand-over has no key")?
        }
    };
    upstream.warm().await?;
    let keys = upstream.keys();
    let isolation = harden(&keys, &upstream.files()).await.to_string();
    let (route, cap) = (&state.route, state.held.cap);
    let meter =
        start::meter(&upstream, &premise.inputs, premise.story().preset(), route, cap, &handle.folder)
            .await?;
    let token = meter.token().to_owned();
    let ready = Ready { url: meter.url(), token: token.clone(), isolation, vendors: upstream.vendors() };
    writeln!(shell.out, "{}", serde_json::to_string(&ready)?)?;
    shell.out.flush()?;
    let time = Timestamp::now().checked_add(state.route.timeout).unwrap_or(Timestamp::MAX);
    let attended = supervise::attend(meter, &mut signals, time, state.held.expires).await;
    let redactor = Redactor::new(keys.iter().map(String::as_str).chain([token.as_str()]));
    let text = attended.text.map(|text| redactor.published(&defuse::visible(&text)));
    let counted = Counted {
        totals: attended.totals,
        text,
        time_up: attended.time_up,
        capped: attended.capped,
        ended: Timestamp::now(),
    };
    handle.write(COUNT, &counted).context("what was counted cannot be written")?;
    Ok(exit::PASS)
}
