//! The transport for `docker`, `https` and `http` references: an ordinary program without privileges that
//! asks servers and hands over bytes. The protocol is in docs/transport.md; whoever speaks it believes
//! nothing it says.

mod address;
mod challenge;
mod client;
mod plain;
mod registry;
mod wire;

use client::Client;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use wire::{Answer, Fault, Kind, PROTOCOL, Request};

/// Longest request; one with many certificates.
const MAX_REQUEST: u64 = 4 << 20;

fn main() -> ExitCode {
    // It holds credentials: nobody else with its user id is to look into it.
    let started = rocket_sys::proc::set_dumpable(false).and_then(|()| rocket_sys::fds::inherit(3));
    match started {
        Ok(body) => match serve(&mut File::from(body)) {
            Ok(()) => ExitCode::SUCCESS,
            // rocket has gone.
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                "{error}: rocket starts this program; see docs/transport.md"
            );
            ExitCode::FAILURE
        }
    }
}

/// Answers requests, one after the other, until there are no more.
fn serve(body: &mut File) -> io::Result<()> {
    let mut client: Option<Client> = None;
    let mut stdin = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let count = io::Read::take(&mut stdin, MAX_REQUEST).read_until(b'\n', &mut line)?;
        if count == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => handle(&mut client, request, body),
            // Not the parser's words: they could repeat a password.
            Err(_) => Err(Fault::new(Kind::Protocol, "the request cannot be read")),
        };
        say(&answer.unwrap_or_else(Answer::from))?;
    }
}

fn handle(client: &mut Option<Client>, request: Request, body: &mut File) -> Result<Answer, Fault> {
    if let Request::Setup(setup) = request {
        if setup.protocol != PROTOCOL {
            let text = format!("protocol {} is not known here", setup.protocol);
            return Err(Fault::new(Kind::Protocol, text));
        }
        *client = Some(Client::new(*setup)?);
        return Ok(Answer::Ready { protocol: PROTOCOL });
    }
    let fault = || Fault::new(Kind::Protocol, "the first request must be setup");
    let client = client.as_mut().ok_or_else(fault)?;
    match request {
        Request::Setup(_) => Err(fault()),
        Request::Resolve { repository, reference, max } => {
            registry::resolve(client, &repository, &reference, max, body)
        }
        Request::Blob { repository, digest, size, offset } => {
            registry::blob(client, &repository, &digest, size, offset, body)
        }
        Request::Get { url, etag, offset, max } => {
            plain::get(client, &url, etag.as_deref(), offset, max, body)
        }
    }
}

/// Writes one answer.
fn say(answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&text)?;
    out.flush()
}
