use super::*;

#[test]
fn numstat_with_renames_binaries_and_odd_names() {
    let output = b"3\t1\tsrc/a.rs\0-\t-\tlogo.png\x005\t0\t\0old name.md\0new\tname.md\x001\t1\t\xc3\xbcber \"x\"\n.txt\0";
    let found = parse_numstat(output);
    let files: Vec<(&str, u64, u64)> =
        found.files.iter().map(|file| (file.path.as_str(), file.additions, file.deletions)).collect();
    assert_eq!(
        files,
        [("src/a.rs", 3, 1), ("logo.png", 0, 0), ("new\tname.md", 5, 0), ("\u{fc}ber \"x\"\n.txt", 1, 1)]
    );
    assert_eq!((found.total, found.additions, found.deletions), (4, 9, 2));
    assert_eq!(parse_numstat(b""), Files::default());
}

#[test]
fn long_lists_are_cut_and_counted() {
    let output: Vec<u8> = (0..FILES_MAX + 5).flat_map(|n| format!("1\t0\tf{n}\0").into_bytes()).collect();
    let found = parse_numstat(&output);
    assert_eq!((found.files.len(), found.total), (FILES_MAX, FILES_MAX as u64 + 5));
}

proptest::proptest! {
    #[test]
    fn no_output_breaks_it(output: Vec<u8>) {
        let found = parse_numstat(&output);
        proptest::prop_assert!(found.files.len() as u64 <= found.total);
    }
}
