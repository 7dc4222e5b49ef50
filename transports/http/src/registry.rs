//! A registry, as OCI's distribution specification and Docker's before it describe them: reading only.

use crate::client::{Client, pass_on, text};
use crate::wire::{Answer, Fault, Kind};
use std::fs::File;
use std::io::Write;
use ureq::http::{StatusCode, header};

/// What may answer for a tag. Schema 1 is not asked for; a server that has nothing else sends it anyway.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

fn scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// Nothing that could be another path than the one meant.
fn check(text: &str) -> Result<(), Fault> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:+".contains(&b);
    let dots = text.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    if dots || !text.bytes().all(plain) {
        return Err(Fault::new(Kind::Protocol, format!("{text:?} cannot be part of an address")));
    }
    Ok(())
}

/// Gets a manifest by tag or digest.
pub fn resolve(
    client: &mut Client,
    repository: &str,
    reference: &str,
    max: u64,
    to: &mut File,
) -> Result<Answer, Fault> {
    check(repository)?;
    check(reference)?;
    let url = client.address(&format!("/v2/{repository}/manifests/{reference}"));
    let accept = [("accept", MANIFESTS.to_owned())];
    let reply = client.ask(&url, &accept, &scope(repository), &[])?;
    let media_type = text(&reply.response, "content-type")
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_owned());
    let digest = text(&reply.response, "docker-content-digest");
    say_body(0, None, None)?;
    let bytes = pass_on(reply.response, max, &reply.from, to)?;
    Ok(Answer::End { bytes, media_type, digest, etag: None, max_age: None })
}

/// Gets a blob.
pub fn blob(
    client: &mut Client,
    repository: &str,
    digest: &str,
    size: u64,
    offset: u64,
    to: &mut File,
) -> Result<Answer, Fault> {
    check(repository)?;
    check(digest)?;
    let url = client.address(&format!("/v2/{repository}/blobs/{digest}"));
    let range = (offset > 0).then(|| ("range", format!("bytes={offset}-")));
    let headers: Vec<_> = range.into_iter().collect();
    let reply = client.ask(&url, &headers, &scope(repository), &[])?;
    let offset = start(&reply.response, &reply.from, offset)?;
    say_body(offset, None, Some(size))?;
    let bytes = pass_on(reply.response, size.saturating_sub(offset), &reply.from, to)?;
    if offset + bytes < size {
        let text = format!("{}: the transfer ended after {bytes} bytes", reply.from);
        return Err(Fault::new(Kind::Network, text));
    }
    Ok(Answer::End { bytes, media_type: None, digest: None, etag: None, max_age: None })
}

/// Where a body begins: where it was asked to, or at the start.
pub fn start(
    response: &ureq::http::Response<ureq::Body>,
    from: &str,
    offset: u64,
) -> Result<u64, Fault> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(0);
    }
    let range = text(response, header::CONTENT_RANGE.as_str()).unwrap_or_default();
    let first = range.strip_prefix("bytes ").and_then(|r| r.split('-').next()?.parse().ok());
    if first == Some(offset) {
        return Ok(offset);
    }
    Err(Fault::refused(format!("{from} sends another part than it was asked for")))
}

/// Tells that bytes follow.
pub fn say_body(offset: u64, etag: Option<String>, total: Option<u64>) -> Result<(), Fault> {
    let gone =
        |e: std::io::Error| Fault::new(Kind::Protocol, format!("rocket does not listen: {e}"));
    let mut line = serde_json::to_vec(&Answer::Body { offset, etag, total }).unwrap_or_default();
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).map_err(gone)
}
