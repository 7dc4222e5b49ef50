//! Published ports.

use super::Container;
use crate::import::Place;
use crate::import::sheet::Published;

/// Ports from the first to the last.
pub(in crate::import) type Range = (u16, u16);

/// More ports than a pod file should spell out.
const MOST: u16 = 64;

/// `80`, `8000-8010`.
pub(in crate::import) fn range(text: &str) -> Option<Range> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (0 < first && first <= last).then_some((first, last))
}

impl Container<'_> {
    /// `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, each port perhaps a range.
    pub(in crate::import) fn publish(&mut self, text: &str, key: &str, place: &Place) {
        let (body, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (front, port) = match body.rsplit_once(':') {
            Some((front, port)) => (Some(front), port),
            None => (None, body),
        };
        let (address, host) = match front {
            None => (None, None),
            Some(front) => match front.rsplit_once(':') {
                Some((address, host)) => (Some(address.trim_matches(['[', ']'])), Some(host)),
                None if front.contains('.') => (Some(front), None),
                None => (None, Some(front)),
            },
        };
        let host = host.filter(|host| !host.is_empty() && *host != "0");
        let parsed = host.map(range);
        match (range(port), parsed) {
            (Some(port), None) => self.publish_parts(address, None, port, protocol, key, place),
            (Some(port), Some(Some(host))) => {
                self.publish_parts(address, Some(host), port, protocol, key, place);
            }
            _ => self.lose(place, key, &format!("{text:?} is not a port"), ""),
        }
    }

    /// The same in parts.
    pub(in crate::import) fn publish_parts(
        &mut self,
        address: Option<&str>,
        host: Option<Range>,
        port: Range,
        protocol: &str,
        key: &str,
        place: &Place,
    ) {
        let udp = match protocol.to_ascii_lowercase().as_str() {
            "tcp" | "" => false,
            "udp" => true,
            other => {
                let why = format!("a pod's ports are tcp and udp, not {other}");
                return self.lose(place, key, &why, "the app can listen all the same");
            }
        };
        let count = port.1 - port.0;
        if count >= MOST {
            let why = format!("{} ports are too many to write out", u32::from(count) + 1);
            return self.lose(
                place,
                key,
                &why,
                "on the host's network the app listens without them",
            );
        }
        // A range of the host's for a single port means any one of them.
        let steps = host.is_some_and(|(first, last)| last - first == count);
        for step in 0..=count {
            let published = Published {
                app: self.name.clone(),
                address: address
                    .filter(|a| !["", "0.0.0.0", "::", "*"].contains(a))
                    .map(str::to_owned),
                host: host.filter(|_| steps).map(|(first, _)| first + step),
                port: port.0 + step,
                udp,
                key: format!("{}{key}", self.prefix),
                place: place.clone(),
            };
            if !self.sheet.published.contains(&published) {
                self.sheet.published.push(published);
            }
        }
    }
}
