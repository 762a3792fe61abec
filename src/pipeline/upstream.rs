//! Where a run may spend: the providers that there is a key for, and the cloud in Anthropic's place.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use tokio::net::TcpListener;

use super::clouds::Via;
use crate::cli::Shell;
use crate::exit::Failure;
use crate::meter::{self, Key, Way};
use crate::preset::Preset;
use crate::provider::Vendor;
use crate::route::Route;
use crate::simulate;

/// Where requests go, instead of the provider, where no option says so: the vendor's name follows.
const UPSTREAM: &str = "TOLLGATE_UPSTREAM_";

/// The variable that says where a vendor's requests go.
pub(super) fn variable(vendor: Vendor) -> String {
    format!("{UPSTREAM}{}", vendor.as_str().to_ascii_uppercase())
}

/// Where a vendor's requests go: to `usual`, unless an option or a variable says otherwise.
///
/// # Errors
/// A [`Failure`] with exit code 2 where it is no address that requests may go to.
pub(super) fn address(
    vendor: Vendor,
    usual: Result<meter::Upstream, meter::UpstreamError>,
    given: &[(Vendor, meter::Upstream)],
    shell: &Shell,
) -> Result<meter::Upstream, Failure> {
    let variable = variable(vendor);
    let given = given.iter().rev().find(|(of, _)| *of == vendor);
    let found = match (given, shell.var(&variable)) {
        (Some((_, given)), _) => Ok(given.clone()),
        (None, Some(text)) => meter::Upstream::parse(text),
        (None, None) => usual,
    };
    found.map_err(|error| Failure::usage(format!("{variable}: {error}")))
}

/// The providers that a run may spend at.
#[derive(Debug)]
pub(super) struct Upstream {
    /// How each is reached.
    pub(super) ways: Vec<Way>,
    via: Option<Via>,
}

impl Upstream {
    /// The providers that the user has a key for, and the cloud that is asked for, where the agent may be one
    /// that speaks to it; `None` without any.
    ///
    /// # Errors
    /// When a `TOLLGATE_UPSTREAM_…` is no address that requests may go to, and when the cloud misses something.
    pub(super) fn of(
        preset: Preset,
        shell: &Shell,
        given: &[(Vendor, meter::Upstream)],
    ) -> anyhow::Result<Option<Self>> {
        let via = if preset.speaks_to_clouds() { Via::chosen(shell, given)? } else { None };
        let mut ways = keyed(shell, given)?;
        if let Some(via) = &via {
            // Who asks for a cloud does not mean a subscription that is there as well.
            ways.retain(|way| !way.key.is_subscription());
            ways.push(via.way(shell, given)?);
        }
        Ok(if ways.is_empty() { None } else { Some(Self { ways, via }) })
    }

    /// The providers that the user has a key for, and no cloud; `None` without any.
    ///
    /// # Errors
    /// When a `TOLLGATE_UPSTREAM_…` is no address that requests may go to.
    pub(super) fn of_keys(
        shell: &Shell,
        given: &[(Vendor, meter::Upstream)],
    ) -> anyhow::Result<Option<Self>> {
        let ways = keyed(shell, given)?;
        Ok(if ways.is_empty() { None } else { Some(Self { ways, via: None }) })
    }

    /// The cloud that serves Claude in Anthropic's place.
    pub(super) fn via(&self) -> Option<&Via> {
        self.via.as_ref()
    }

    /// Fetches what has to be fetched before the first request, so that what is wrong is said before anything
    /// is held.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2 where it is not to be had.
    pub(super) async fn warm(&self) -> anyhow::Result<()> {
        for way in &self.ways {
            way.key.warm(Timestamp::now()).await.map_err(|error| Failure::usage(error.to_string()))?;
        }
        Ok(())
    }

    /// Whose APIs they are, by name.
    pub(super) fn vendors(&self) -> Vec<String> {
        self.ways.iter().map(|way| way.vendor.as_str().to_owned()).collect()
    }

    /// Whether a vendor is among them.
    pub(super) fn has(&self, vendor: Vendor) -> bool {
        self.ways.iter().any(|way| way.vendor == vendor)
    }

    /// Whether a vendor is among them, and is paid by the token: by a key, not by a subscription.
    pub(super) fn has_key(&self, vendor: Vendor) -> bool {
        self.ways.iter().any(|way| way.vendor == vendor && !way.key.is_subscription())
    }

    /// Whether the provider that a preset will ask for the route's model has a key.
    ///
    /// # Errors
    /// When it has none, as a [`Failure`] with exit code 2.
    pub(super) fn check(&self, preset: Preset, route: &Route) -> anyhow::Result<()> {
        let Some(vendor) = preset.vendor(&route.model) else { return Ok(()) };
        // The cloud is there only where the preset asks it in Anthropic's place.
        if self.has(vendor) || vendor == Vendor::Anthropic && self.via.is_some() {
            return Ok(());
        }
        let message = format!(
            "{} asks {} for `{}`, and there is no key for it: {} is not set\n\n\
             hint: set it (the agent will not see it), or give the {} tier a model whose key is there",
            preset.title(),
            vendor.title(),
            route.model,
            vendor.key_variable(),
            route.tier,
        );
        Err(Failure::usage(message).into())
    }

    /// Their keys.
    pub(super) fn keys(&self) -> Vec<String> {
        self.ways.iter().flat_map(|way| way.key.secrets()).collect()
    }

    /// The files with credentials that they are asked with.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.ways.iter().flat_map(|way| way.key.files()).collect()
    }

    /// Whether a subscription pays for all of it, so that the run spends no dollars.
    pub(super) fn is_subscription(&self) -> bool {
        self.ways.iter().all(|way| way.key.is_subscription())
    }

    /// The embedded provider, serving until the program ends.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub(super) async fn simulated() -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no loopback port can be had")?;
        let url = meter::Upstream::parse(&format!("http://{}", listener.local_addr()?))?;
        let provider = simulate::Provider::new(simulate::Script::demo());
        tokio::spawn(provider.serve(listener, std::future::pending()));
        let key = Key::account("simulated".to_owned());
        Ok(Self { ways: vec![Way { vendor: Vendor::Anthropic, upstream: url, key }], via: None })
    }
}

/// How the providers are reached that the user has a key for.
fn keyed(shell: &Shell, given: &[(Vendor, meter::Upstream)]) -> anyhow::Result<Vec<Way>> {
    let mut ways = Vec::new();
    let env = |name: &str| shell.var(name).map(str::to_owned);
    for vendor in Vendor::ALL.into_iter().filter(|vendor| !vendor.is_cloud()) {
        // A meter's token, which a run around this one may have left in the key's place, is no key.
        let nested = shell.var("TOLLGATE_TOKEN");
        let key = Key::found(vendor, &env)
            .map_err(Failure::usage)?
            .filter(|key| nested.is_none_or(|token| !key.secrets().contains(&token.to_owned())));
        let Some(key) = key else { continue };
        let upstream = address(vendor, Ok(meter::Upstream::of(vendor)), given, shell)?;
        ways.push(Way { vendor, upstream, key });
    }
    Ok(ways)
}
