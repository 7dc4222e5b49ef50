//! What lies beside a file on a web server: its signatures, small and read whole.

use super::Fetch;
use super::registry::Memory;
use crate::image::error::ImageError;
use crate::image::transport::{Endpoint, Kind, Request, Session};
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

    /// A small file; nothing where the server has none.
    pub(super) fn small(
        &mut self,
        endpoint: &Endpoint,
        url: &str,
    ) -> Result<Option<Vec<u8>>, ImageError> {
        let request = Request::Get { url, etag: None, offset: 0, max: MAX_BESIDE };
        let mut sink = Memory { bytes: Vec::new(), interrupted: self.interrupted };
        let asked = Session::start(self.remote, endpoint)
            .and_then(|mut session| session.ask(&request, MAX_BESIDE, &mut sink));
        match asked {
            Ok(_) => Ok(Some(sink.bytes)),
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
