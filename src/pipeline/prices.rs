//! Which prices hold: the table that is built in, a newer one that was installed, and the budget file's own.
//!
//! An installed table lies outside of every checkout, belongs to whoever runs tollgate, and is as strictly
//! read as the built-in one. On a runner, where an earlier job could have put it there, it counts only if the
//! budget file says so. What it makes cheaper counts only if the budget file says that, too.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

use crate::budget::{Budget, ModelPrice, Prices, TableChoice, UnknownModel};
use crate::exit::Failure;
use crate::price::{Direction, Own, OwnPrice, Table, changes};

/// The variable that names the installed table's file.
const VARIABLE: &str = "TOLLGATE_PRICES";
/// The largest table that is read, in bytes.
pub(crate) const TABLE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Where tollgate runs, as far as prices go.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a> {
    /// Looks a variable up.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// The repository's top folder, or the current one.
    pub(crate) root: &'a Path,
    /// Today, in UTC.
    pub(crate) today: Date,
}

impl<'a> Here<'a> {
    /// Here and now.
    pub(crate) fn now(env: &'a dyn Fn(&str) -> Option<String>, root: &'a Path) -> Self {
        Self { env, root, today: TimeZone::UTC.to_datetime(Timestamp::now()).date() }
    }

    fn is_runner(&self) -> bool {
        (self.env)("GITHUB_ACTIONS").as_deref() == Some("true")
    }
}

/// The prices that hold, and what is to be told of them.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    /// All of them.
    pub(crate) table: &'static Table,
    /// In sentences.
    pub(crate) notes: Vec<String>,
}

/// An installed table.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) table: Table,
    /// SHA-256 of its text, in hexadecimal digits.
    pub(crate) digest: String,
}

/// The prices that hold where a budget file says of them what it says.
///
/// # Errors
/// A [`Failure`] with exit code 2 for a table that is demanded and not there, or there and no good; and for
/// prices of the budget file that cannot be.
pub(crate) fn in_force(prices: &Prices, here: &Here<'_>) -> anyhow::Result<InForce> {
    let (mut table, mut notes) = (None, Vec::new());
    let newer = chosen(&prices.table, here, &mut notes)?;
    if let Some(newer) = newer.filter(|newer| counts(newer, here, &mut notes)) {
        if !prices.cheaper {
            notes.extend(held(&newer));
        }
        table = Some(Table::embedded().over(&newer, prices.cheaper));
    }
    if !prices.models.is_empty() {
        let own: Vec<Own> = prices.models.iter().map(|(model, price)| own(model, price)).collect();
        let base = table.as_ref().unwrap_or(Table::embedded());
        let (with_own, held): (Table, Vec<String>) =
            base.with_own(&own, prices.cheaper).map_err(|error| Failure::usage(error.to_string()))?;
        notes.extend(held);
        table = Some(with_own);
    }
    Ok(InForce { table: table.map_or_else(Table::embedded, Table::kept), notes })
}

/// The prices that hold with a budget file, in which every tier's model has a price where models without one
/// are refused.
///
/// # Errors
/// As [`in_force`], and for such a model.
pub(crate) fn of_budget(budget: &Budget, here: &Here<'_>) -> anyhow::Result<InForce> {
    let found = in_force(&budget.prices, here).map_err(|error| of_file(budget, &error))?;
    known_tiers(budget, found.table)?;
    Ok(found)
}

/// Refuses what the budget file says of prices where it cannot be. Whether an installed table knows a tier's
/// model is seen when it is read.
///
/// # Errors
/// A [`Failure`] with exit code 2.
pub(crate) fn check(budget: &Budget) -> anyhow::Result<()> {
    let built_in = Prices { table: TableChoice::BuiltIn, ..budget.prices.clone() };
    let own: Vec<Own> = built_in.models.iter().map(|(model, price)| own(model, price)).collect();
    let (table, _) =
        Table::embedded().with_own(&own, built_in.cheaper).map_err(|error| of_file(budget, &error))?;
    match budget.prices.table {
        TableChoice::Default | TableChoice::BuiltIn => known_tiers(budget, &table),
        TableChoice::Installed | TableChoice::Digest(_) => Ok(()),
    }
}

fn of_file(budget: &Budget, error: &dyn std::fmt::Display) -> anyhow::Error {
    let path = budget.path.as_deref().unwrap_or("the built-in defaults");
    Failure::usage(format!("{path}: {error}")).into()
}

fn known_tiers(budget: &Budget, table: &Table) -> anyhow::Result<()> {
    if budget.on.unknown_model == UnknownModel::Deny
        && let Some(model) = budget.models().into_iter().find(|model| table.find(model).is_none())
    {
        let problem = format!(
            "tiers: the model `{model}` has no price, so every request for it would be refused\n\n\
             hint: write a model of the price table, such as claude-sonnet-5-5, or what it costs under \
             `prices: {{ models: … }}`, or let unknown models count at the dearest price there is with \
             `on: {{ unknown_model: ceiling }}`"
        );
        return Err(of_file(budget, &problem));
    }
    Ok(())
}

fn own(model: &crate::model::ModelId, price: &ModelPrice) -> Own {
    let is = match price {
        ModelPrice::SameAs(other) => OwnPrice::SameAs(other.clone()),
        ModelPrice::Rates(rates) => OwnPrice::Rates {
            input: rates.input,
            output: rates.output,
            cache_read: rates.cache_read,
            cache_write: rates.cache_write,
            cache_write_long: rates.cache_write_long,
            window: rates.window,
            output_max: rates.max_output,
        },
    };
    Own { model: model.clone(), is }
}

/// The installed table, if it is chosen.
fn chosen(choice: &TableChoice, here: &Here<'_>, notes: &mut Vec<String>) -> anyhow::Result<Option<Table>> {
    match choice {
        TableChoice::BuiltIn => Ok(None),
        TableChoice::Default if here.is_runner() => {
            if place(here).is_ok_and(|place| place.is_some_and(|path| path.exists())) {
                notes.push(
                    "the installed price table does not count on a runner unless the budget file says \
                     `prices: { table: sha256:… }` with its digest"
                        .to_owned(),
                );
            }
            Ok(None)
        }
        TableChoice::Default | TableChoice::Installed => Ok(installed(here)?.map(|found| found.table)),
        TableChoice::Digest(wanted) => match installed(here)? {
            Some(found) if found.digest == *wanted => Ok(Some(found.table)),
            Some(found) => Err(Failure::usage(format!(
                "the budget file wants the price table sha256:{wanted}, and sha256:{} is installed\n\n\
                 hint: install the one it wants with `tollgate prices update`",
                found.digest
            ))
            .into()),
            None => Err(Failure::usage(format!(
                "the budget file wants the price table sha256:{wanted}, and none is installed\n\n\
                 hint: install it with `tollgate prices update` in a step before this one"
            ))
            .into()),
        },
    }
}

/// Whether an installed table is one of these days: newer than what is built in, and not of the future.
fn counts(newer: &Table, here: &Here<'_>, notes: &mut Vec<String>) -> bool {
    let built_in = Table::embedded().as_of();
    if newer.as_of() < built_in {
        notes.push(format!(
            "the installed price table is of {}, older than the built-in one of {built_in}, and does not count",
            newer.as_of()
        ));
        return false;
    }
    if here.today.tomorrow().is_ok_and(|tomorrow| newer.as_of() > tomorrow) {
        notes.push(format!(
            "the installed price table is of {}, a day to come, and does not count",
            newer.as_of()
        ));
        return false;
    }
    true
}

/// What is to be told where prices of an installed table do not count.
fn held(newer: &Table) -> Option<String> {
    let cheaper = changes(Table::embedded(), newer);
    let models: std::collections::BTreeSet<&str> = cheaper
        .iter()
        .filter(|change| change.direction == Direction::Cheaper)
        .map(|change| change.what.as_str())
        .collect();
    let first = models.first()?;
    let more = match models.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "the installed price table makes {first}{more} cheaper than the built-in one does, which does not count; \
         `prices: {{ cheaper: allow }}` in the budget file lets it"
    ))
}

/// Where the installed table lies, or would; `None` where there is no home to keep it in.
///
/// # Errors
/// When the place that is named lies inside of the repository: whoever changes the repository would change
/// its prices.
pub(crate) fn place(here: &Here<'_>) -> anyhow::Result<Option<PathBuf>> {
    let var = |name: &str| (here.env)(name).filter(|value| !value.is_empty());
    let data = || var("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || var("HOME").map(|home| Path::new(&home).join(".local/share"));
    let usual = || data().or_else(home).map(|data| data.join("tollgate/prices.json"));
    let named = var(VARIABLE).map(PathBuf::from);
    let Some(path) = named.clone().or_else(usual) else { return Ok(None) };
    let hint = format!("set {VARIABLE} to an absolute path outside of every checkout");
    if !path.is_absolute() {
        let message = format!("{VARIABLE} is no absolute path: {}\n\nhint: {hint}", path.display());
        return Err(Failure::usage(message).into());
    }
    if is_within(&path, here.root) {
        let message = format!(
            "the price table {} lies inside of the repository, where whoever changes it would set the prices\n\n\
             hint: {hint}",
            path.display()
        );
        return Err(Failure::usage(message).into());
    }
    Ok(Some(path))
}

/// Whether a path leads into a folder, links followed as far as there is something.
fn is_within(path: &Path, folder: &Path) -> bool {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let real = path.ancestors().find_map(|there| {
        let rest = path.strip_prefix(there).ok()?;
        Some(fs::canonicalize(there).ok()?.join(rest))
    });
    let leads_in = |path: &Path| path.starts_with(&folder);
    // A home that is a checkout itself holds everything that its owner has.
    let whole_home = folder.join(".local/share") == path.ancestors().nth(2).unwrap_or(path);
    !whole_home && (leads_in(path) || real.is_some_and(|real| leads_in(&real)))
}

/// The installed table, if there is one.
///
/// # Errors
/// When it cannot be trusted or read.
pub(crate) fn installed(here: &Here<'_>) -> anyhow::Result<Option<Installed>> {
    let Some(path) = place(here)? else { return Ok(None) };
    let wrong = |problem: String| {
        let message = format!(
            "the installed price table {} {problem}\n\nhint: install it anew with `tollgate prices update`, or remove it",
            path.display()
        );
        anyhow::Error::from(Failure::usage(message))
    };
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
    };
    let about = file.metadata().map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if !about.is_file() {
        return Err(wrong("is no file".to_owned()));
    }
    let own = rustix::process::geteuid().as_raw();
    if about.uid() != own && about.uid() != 0 {
        return Err(wrong("belongs to another user".to_owned()));
    }
    if about.mode() & 0o022 != 0 {
        return Err(wrong("can be written by others".to_owned()));
    }
    let mut text = String::new();
    let read = file.take(TABLE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let table = Table::parse(&text).map_err(|error| wrong(format!("is no good: {error}")))?;
    Ok(Some(Installed { table, digest: digest(text.as_bytes()) }))
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
