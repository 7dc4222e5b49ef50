//! `dns` and `hosts`.

use super::section::Section;
use crate::grammar;
use crate::names::{Dns, Hosts, Resolver, parse_address, parse_dns_option, parse_domain};
use crate::tree::{Node, Value};

/// Reads `dns`: a word or a table.
pub(super) fn dns(top: &Section<'_>) -> Dns {
    match top.node("dns") {
        None => Dns::Auto,
        Some(Node { value: Value::Table(_), .. }) => {
            let Some(keys) = top.section("dns", "dns", grammar::DNS) else { return Dns::Auto };
            let resolver = Resolver {
                servers: keys.list("servers", parse_address).unwrap_or_default(),
                search: keys.list("search", parse_domain).unwrap_or_default(),
                options: keys.list("options", parse_dns_option).unwrap_or_default(),
                domain: keys.text("domain", parse_domain),
            };
            if let Some(node) = keys.node("domain").filter(|_| !resolver.search.is_empty()) {
                // resolv.conf(5): the last of the two wins.
                keys.report.error(node.pos, "domain and search exclude each other");
            }
            Dns::Own(resolver)
        }
        Some(_) => {
            top.choice("dns", &[("host", Dns::Host), ("none", Dns::None)]).unwrap_or_default()
        }
    }
}

/// Reads `hosts`: a word or a table of names.
pub(super) fn hosts(top: &Section<'_>) -> Hosts {
    let report = top.report;
    match top.node("hosts") {
        None => Hosts::default(),
        Some(Node { value: Value::Table(table), .. }) => {
            let mut list = Vec::new();
            for (name, entry) in &table.entries {
                let name = report.take(entry.key, parse_domain(name));
                let text = report.line(&entry.node, "the address of a host");
                let address =
                    text.and_then(|text| report.take(entry.node.pos, parse_address(text)));
                list.extend(name.zip(address));
            }
            Hosts::Own(list)
        }
        Some(_) => top.choice("hosts", &[("host", Hosts::Host)]).unwrap_or_default(),
    }
}
