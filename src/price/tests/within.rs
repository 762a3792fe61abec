//! Whatever a request uses within its ceiling costs no more than its bound: random ceilings of every model, and
//! random usages within them.

use proptest::prelude::*;

use super::*;

fn terms_within(ceiling: &Terms) -> impl Strategy<Value = Terms> + use<> {
    let tiers = vec![ceiling.tier.clone(), ServiceTier::Standard];
    let speeds = vec![ceiling.speed.clone(), Speed::Standard];
    let regions = vec![ceiling.region.clone(), Region::Global];
    let pick = (prop::sample::select(tiers), prop::sample::select(speeds), prop::sample::select(regions));
    pick.prop_map(|(tier, speed, region)| Terms { tier, speed, region })
}

fn a_ceiling_line() -> impl Strategy<Value = CeilingLine> {
    // Half of the models have a band, since that is where a bound can go wrong.
    let mut models: Vec<ModelId> = table().models().iter().map(|model| model.id.clone()).collect();
    models.extend(vec!["claude-haiku-5-5".into(); models.len()]);
    let writes = vec![
        CacheWrites::None,
        CacheWrites::FiveMinutes,
        CacheWrites::OneHour,
        CacheWrites::ThirtyMinutes,
        CacheWrites::TwelveHours,
    ];
    let speeds = vec![Speed::Standard, Speed::Fast];
    let regions = vec![Region::Global, Region::Us, Region::Regional];
    let tiers = vec![ServiceTier::Standard, ServiceTier::Standard, ServiceTier::Priority, ServiceTier::Flex];
    let terms = (prop::sample::select(speeds), prop::sample::select(regions), prop::sample::select(tiers))
        .prop_map(|(speed, region, tier)| Terms { tier, speed, region });
    let input = prop_oneof![0..300_000_u64, 99_990..100_010_u64, 199_990..200_010_u64, 271_990..272_010_u64];
    let shape = (1..4_u64, 1..3_u64, any::<bool>());
    (prop::sample::select(models), input, 0..64_000_u64, shape, prop::sample::select(writes), terms).prop_map(
        |(model, input, output, (samplings, choices, audio), cache_writes, terms)| CeilingLine {
            model,
            input,
            output,
            samplings,
            choices,
            audio,
            cache_writes,
            terms,
            region_open: true,
        },
    )
}

/// A sampling within a line of a ceiling: parts in thousandths of what is allowed.
fn a_sampling(line: CeilingLine, inputs: u64) -> impl Strategy<Value = UsageLine> {
    let terms = terms_within(&line.terms);
    let part = prop_oneof![0..=1_000_u64, Just(1_000)];
    (part.clone(), part.clone(), part.clone(), part.clone(), part, terms).prop_map(
        move |(all, read, five, hour, output, terms)| {
            let prompt = line.input * inputs * all / 1_000;
            let cache_read = prompt * read / 1_000;
            let mut rest = prompt - cache_read;
            let mut take = |share: u64, allowed: bool| {
                let taken = if allowed { rest * share / 1_000 } else { 0 };
                rest -= taken;
                taken
            };
            let writes = |any_of: &[CacheWrites]| any_of.contains(&line.cache_writes);
            let cache_write_1h = take(hour, writes(&[CacheWrites::OneHour]));
            let cache_write_12h = take(hour, writes(&[CacheWrites::TwelveHours]));
            let cache_write_5m = take(five, writes(&[CacheWrites::FiveMinutes, CacheWrites::OneHour]));
            let cache_write_30m = take(five, writes(&[CacheWrites::ThirtyMinutes, CacheWrites::TwelveHours]));
            let audio_input = take(hour, line.audio);
            let audio_cache_read = if line.audio { cache_read / 3 } else { 0 };
            let output = line.output * line.choices * inputs * output / 1_000;
            let counts = Counts {
                input: rest,
                cache_read: cache_read - audio_cache_read,
                cache_write_5m,
                cache_write_1h,
                cache_write_30m,
                cache_write_12h,
                audio_input,
                audio_cache_read,
                output,
            };
            UsageLine { model: line.model.clone(), counts, terms, beside_prompt: 0 }
        },
    )
}

/// A ceiling, and a usage within it: each line's samplings one by one, or in one sum.
fn a_ceiling_and_a_usage() -> impl Strategy<Value = (Ceiling, Usage)> {
    (prop::collection::vec((a_ceiling_line(), any::<bool>()), 1..4), 0..5_u64, 0..5_u64).prop_flat_map(
        |(lines, searches, spared)| {
            let samplings: Vec<_> = lines
                .iter()
                .flat_map(|(line, summed)| {
                    let (times, inputs) = if *summed { (1, line.samplings) } else { (line.samplings, 1) };
                    (0..times).map(move |_| a_sampling(line.clone(), inputs))
                })
                .collect();
            let lines = lines.into_iter().map(|(line, _)| line).collect();
            let ceiling = Ceiling { lines, web_searches: searches, ..Ceiling::default() };
            let web_searches = searches.saturating_sub(spared);
            samplings
                .prop_map(move |lines| (ceiling.clone(), Usage { lines, web_searches, ..Usage::default() }))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_usage_within_a_ceiling_costs_more_than_its_bound(
        (ceiling, usage) in a_ceiling_and_a_usage(),
        day in 0..500_i64,
    ) {
        let start: Timestamp = "2026-01-01T09:00:00Z".parse().expect("an instant");
        let when = When::Around(start + SignedDuration::from_hours(24 * day));
        // A ceiling whose terms have no price is not let through at all.
        if let Ok(bound) = table().bound(&ceiling, when) {
            let cost = table().cost(&usage, when);
            prop_assert!(cost.as_ref().is_ok_and(|cost| cost.usd <= bound.total()), "{cost:?} {bound:?}");
        }
    }

    #[test]
    fn around_an_instant_is_never_cheaper_than_its_day(
        line in a_ceiling_line().prop_flat_map(|line| a_sampling(line, 1)),
        hours in 0..12_000_i64,
    ) {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("an instant");
        let instant = start + SignedDuration::from_hours(hours);
        let day = TimeZone::UTC.to_datetime(instant).date();
        let usage = Usage { lines: vec![line], ..Usage::default() };
        if let Ok(exact) = table().cost(&usage, When::On(day)) {
            prop_assert!(table().cost(&usage, When::Around(instant)).expect("a price").usd >= exact.usd);
        }
    }
}
