//! `events/older`: where in the branch's history the parts are that its tip no longer has.
//!
//! ```text
//! events/2026-11/0001-0100 COMMIT        parts that `events/older` of that commit lists
//! events/2026-11/0101.jsonl COMMIT       a part that is in that commit
//! ```
//! Parts that are listed one by one become one line when they are [`LISTED_MAX`], or when their month is over: the
//! file, which every fetch brings, grows by a line or two for each month and for each ten thousand events.

use super::repo::Oid;
use super::tree::Part;

/// Parts of the newest month that are listed one by one; then they become one line.
pub(super) const LISTED_MAX: usize = 100;

/// Parts of a month that are in the history only, one or several in a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Older {
    pub(super) first: Part,
    /// The number of the last one.
    pub(super) last: u32,
    /// The commit that has the part; where there are several, the one whose `events/older` lists them.
    pub(super) commit: Oid,
}

impl Older {
    pub(super) fn one(part: Part, commit: Oid) -> Self {
        Self { last: part.number, first: part, commit }
    }

    pub(super) fn is_one(&self) -> bool {
        self.last == self.first.number
    }

    fn path(&self) -> String {
        match self.is_one() {
            true => self.first.path(),
            false => format!("events/{}/{:04}-{:04}", self.first.month, self.first.number, self.last),
        }
    }

    /// The file of the commit that has the part, or lists the parts.
    pub(super) fn file(&self, prefix: &str) -> String {
        match self.is_one() {
            true => format!("{}:{prefix}{}", self.commit, self.first.path()),
            false => format!("{}:{prefix}events/older", self.commit),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (path, commit) = line.split_once(' ')?;
        let commit = is_oid(commit).then(|| commit.to_owned())?;
        if let Some(part) = Part::parse(path) {
            return Some(Self::one(part, commit));
        }
        let (first, last) = path.rsplit_once('-')?;
        let first = Part::parse(&format!("{first}.jsonl"))?;
        let last = Part::parse(&format!("events/{}/{last}.jsonl", first.month))?.number;
        (last > first.number).then_some(Self { first, last, commit })
    }
}

fn is_oid(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The file's lines; `None` where one is none of ours.
pub(super) fn read(text: &str) -> Option<Vec<Older>> {
    text.lines().map(Older::parse).collect()
}

/// The file.
pub(super) fn write(older: &[Older]) -> String {
    older.iter().map(|older| format!("{} {}\n", older.path(), older.commit)).collect()
}

/// The lines of `tip`, the commit whose file they are, with one line for many parts of `month`, which is the
/// newest one, or for several of another.
pub(super) fn folded(older: &[Older], tip: &str, month: &str) -> Vec<Older> {
    let in_a_row = |a: &Older, b: &Older| {
        a.is_one() && b.is_one() && a.first.month == b.first.month && a.last + 1 == b.first.number
    };
    let fold = |row: &[Older]| match row {
        [first, .., last] if row.len() >= LISTED_MAX || first.first.month != month => {
            vec![Older { first: first.first.clone(), last: last.last, commit: tip.to_owned() }]
        }
        _ => row.to_vec(),
    };
    older.chunk_by(in_a_row).flat_map(fold).collect()
}

/// The single parts that `several` stands for, from the file that lists them; `None` where one is missing there.
pub(super) fn unfolded(several: &Older, listed: &[Older]) -> Option<Vec<Older>> {
    let range = several.first.number..=several.last;
    let is_of = |one: &Older| {
        one.is_one() && one.first.month == several.first.month && range.contains(&one.first.number)
    };
    let mut ones: Vec<Older> = listed.iter().filter(|one| is_of(one)).cloned().collect();
    ones.sort_unstable();
    ones.iter().map(|one| one.first.number).eq(range).then_some(ones)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ones(numbers: std::ops::RangeInclusive<u32>) -> Vec<Older> {
        let part = |number| Part { month: "2026-11".to_owned(), number };
        numbers.map(|number| Older::one(part(number), format!("{number:040x}"))).collect()
    }

    #[test]
    fn many_parts_become_one_line_that_says_where_they_are_listed() {
        let tip = "f".repeat(40);
        let few = ones(1..=99);
        assert_eq!(folded(&few, &tip, "2026-11"), few);
        let many = ones(1..=130);
        let one_line = folded(&many, &tip, "2026-11");
        assert_eq!(write(&one_line), format!("events/2026-11/0001-0130 {tip}\n"));
        assert_eq!(read(&write(&one_line)), Some(one_line.clone()));
        assert_eq!(read(&write(&many)), Some(many.clone()));
        assert_eq!(unfolded(&one_line[0], &many), Some(many.clone()));
        let mut next = one_line.clone();
        next.extend(ones(131..=240));
        assert_eq!(
            write(&folded(&next, &"e".repeat(40), "2026-11")),
            format!("events/2026-11/0001-0130 {tip}\nevents/2026-11/0131-0240 {}\n", "e".repeat(40))
        );
        let mut december = ones(1..=60);
        december.iter_mut().for_each(|older| older.first.month = "2026-12".to_owned());
        let both = [ones(1..=60), december.clone()].concat();
        let folded = folded(&both, &tip, "2026-12");
        assert_eq!(write(&folded[..1]), format!("events/2026-11/0001-0060 {tip}\n"), "its month is over");
        assert_eq!(folded[1..], december);
    }

    #[test]
    fn what_is_no_list_of_ours_is_not_taken_for_one() {
        let oid = "a".repeat(40);
        for path in [
            "events/2026-11/0001-0001",
            "events/2026-11/0002-0001",
            "events/2026-11/0001-0002.jsonl",
            "events/2026-11/1-2",
            "events/2026-11/0001-2",
            "events/2026-11/0001-+002",
            "events/2026-11/0001-10000000",
            "other/2026-11/0001.jsonl",
        ] {
            assert_eq!(read(&format!("{path} {oid}\n")), None, "{path}");
        }
        assert_eq!(read("events/2026-11/0001.jsonl --upload-pack=x\n"), None);
        let several = &folded(&ones(1..=100), &oid, "2026-11")[0];
        let mut gap = ones(1..=100);
        gap.remove(50);
        assert_eq!(unfolded(several, &gap), None);
        gap.push(gap[0].clone());
        assert_eq!(unfolded(several, &gap), None);
        let two = folded(&ones(1..=2), &oid, "2026-12");
        assert_eq!(unfolded(several, &[two, ones(3..=100)].concat()), None, "a row is no part");
        assert_eq!(
            unfolded(several, &[ones(1..=1), folded(&ones(1..=2), &oid, ""), ones(2..=101)].concat()),
            Some(ones(1..=100))
        );
    }
}
