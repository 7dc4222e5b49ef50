//! One file from a web server.

use crate::client::{Client, pass_on, text};
use crate::registry::{say_body, start};
use crate::wire::{Answer, Fault, Kind};
use std::fs::File;
use ureq::http::{Response, header};

/// Gets a file, or hears that it is the same as before or not ready.
pub fn get(
    client: &mut Client,
    url: &str,
    etag: Option<&str>,
    offset: u64,
    max: u64,
    to: &mut File,
) -> Result<Answer, Fault> {
    let mut headers = Vec::new();
    match etag {
        // The rest of what is here in part: all of it, if it is another file by now.
        Some(etag) if offset > 0 => {
            headers.push(("range", format!("bytes={offset}-")));
            headers.push(("if-range", etag.to_owned()));
        }
        Some(etag) => headers.push(("if-none-match", etag.to_owned())),
        None => {}
    }
    let reply = client.ask(url, &headers, "", &[304])?;
    let max_age = max_age(&reply.response);
    match reply.response.status().as_u16() {
        304 => return Ok(Answer::Unchanged { max_age }),
        202 => {
            let after = crate::client::seconds(&reply.response, header::RETRY_AFTER);
            return Ok(Answer::Later { after });
        }
        _ => {}
    }
    let offset = start(&reply.response, &reply.from, offset)?;
    let etag = text(&reply.response, "etag");
    let media_type = text(&reply.response, "content-type");
    let length: Option<u64> =
        text(&reply.response, "content-length").and_then(|length| length.parse().ok());
    say_body(offset, etag.clone(), length.and_then(|length| length.checked_add(offset)))?;
    let bytes = pass_on(reply.response, max.saturating_sub(offset), &reply.from, to)?;
    if length.is_some_and(|length| bytes < length) {
        let text = format!("{}: the transfer ended after {bytes} bytes", reply.from);
        return Err(Fault::new(Kind::Network, text));
    }
    Ok(Answer::End { bytes, media_type, digest: None, etag, max_age })
}

/// For how long a server vouches for its answer.
fn max_age(response: &Response<ureq::Body>) -> Option<u64> {
    let control = text(response, header::CACHE_CONTROL.as_str())?;
    let words: Vec<&str> = control.split(',').map(str::trim).collect();
    if words.iter().any(|word| matches!(*word, "no-store" | "no-cache")) {
        return None;
    }
    words.iter().find_map(|word| word.strip_prefix("max-age=")?.parse().ok())
}
