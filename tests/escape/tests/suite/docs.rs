//! The page about the attempts is what the code says.

use rocket_escape::{all, table};
use std::collections::BTreeSet;

#[test]
fn the_page_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/escape.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == table::page(),
        "docs/escape.md is not what the code says: \
         cargo run -p rocket-escape -- table >docs/escape.md"
    );
}

#[test]
fn there_are_enough_attempts_and_each_has_a_name_of_its_own_and_something_that_stops_it() {
    let names: BTreeSet<&str> = all().map(|attempt| attempt.name).collect();
    assert!(names.len() >= 60, "{}", names.len());
    assert_eq!(names.len(), all().count());
    for attempt in all() {
        assert!(!attempt.off.is_empty(), "{}", attempt.name);
    }
    for (name, _) in table::LACKING {
        assert!(names.contains(name), "{name}");
    }
}
