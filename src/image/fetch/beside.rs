//! What lies beside a file on a web server: its signatures, small and read whole.

use super::Fetch;
use super::registry::Memory;
use crate::image::discovery::page::MAX_PAGE;
use crate::image::error::ImageError;
use crate::image::transport::{Endpoint, Fault, Kind, Request, Session};
use crate::image::trust::statement::MAX_BESIDE;
use crate::image::trust::{Beside, Signature};

impl Fetch<'_> {
    /// The signatures of a file on a web server. None, or an answer that is none, is no error: whether
    /// they are needed is decided when the image is here.
    pub(super) fn beside_url(
        &mut self,
        endpoint: &Endpoint,
        url: &str,
    ) -> Result<Beside, ImageError> {
        let mut beside = Beside::default();
        for kind in Beside::KINDS {
            let url = longer(url, Signature::extension(kind));
            let Some(bytes) = self.small(endpoint, &url)? else { continue };
            if !Signature::looks_like(kind, &bytes) {
                self.reporter.note(&format!("{url}: this is no signature"));
            } else {
                beside.signatures.push(Signature { kind, bytes });
            }
        }
        Ok(beside)
    }

    /// A page or a key; what the server says where it has none.
    pub(super) fn body(&mut self, url: &str) -> Result<Result<Vec<u8>, String>, ImageError> {
        let endpoint = match self.remote.web(url) {
            Ok(endpoint) => endpoint,
            Err(error @ ImageError::Remote { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        match self.get(&endpoint, url, MAX_PAGE) {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(fault) if fault.kind == Kind::Stopped => Err(ImageError::Interrupted),
            Err(fault) => Ok(Err(fault.message)),
        }
    }

    fn get(&mut self, endpoint: &Endpoint, url: &str, max: u64) -> Result<Vec<u8>, Fault> {
        let request = Request::Get { url, etag: None, offset: 0, max };
        let mut sink = Memory { bytes: Vec::new(), interrupted: self.interrupted };
        Session::start(self.remote, endpoint)
            .and_then(|mut session| session.ask(&request, max, &mut sink))?;
        Ok(sink.bytes)
    }

    /// A small file; nothing where the server has none.
    pub(super) fn small(
        &mut self,
        endpoint: &Endpoint,
        url: &str,
    ) -> Result<Option<Vec<u8>>, ImageError> {
        match self.get(endpoint, url, MAX_BESIDE) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(fault) if fault.kind == Kind::Stopped => Err(ImageError::Interrupted),
            Err(fault) => {
                if fault.kind != Kind::NotFound {
                    self.reporter.note(&format!("{url}: {}", fault.message));
                }
                Ok(None)
            }
        }
    }
}

/// An address whose path is longer.
fn longer(url: &str, by: &str) -> String {
    match url.split_once('?') {
        Some((path, query)) => format!("{path}{by}?{query}"),
        None => format!("{url}{by}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_are_longer_not_queries() {
        assert_eq!(super::longer("https://h/a.aci", ".asc"), "https://h/a.aci.asc");
        assert_eq!(super::longer("https://h/a.aci?x=1", ".asc"), "https://h/a.aci.asc?x=1");
    }
}
