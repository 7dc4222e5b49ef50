//! What the command line says of the apps' surroundings: their variables, and how names are found.

use crate::cli::error::Failure;
use rocket_podfile::{
    Dns, Hosts, PodFile, Resolver, parse_address, parse_dns_option, parse_domain, parse_hostname,
};

/// Options of `run` and `prepare`; each wins over the pod file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct WorldArgs {
    /// Variable for every app, NAME=value.
    #[arg(short, long, visible_alias = "environment", value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Host name of the pod.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Name server; or host: a copy of the host's resolv.conf; or none: no such file.
    #[arg(long, value_name = "IP|host|none")]
    pub dns: Vec<String>,
    /// Domain that short names are searched in.
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Option of resolv.conf.
    #[arg(long, value_name = "OPTION")]
    pub dns_opt: Vec<String>,
    /// The local domain.
    #[arg(long, value_name = "DOMAIN", conflicts_with = "dns_search")]
    pub dns_domain: Option<String>,
    /// Entry of the apps' /etc/hosts; or host: a copy of the host's.
    #[arg(long, value_name = "IP=NAME|host")]
    pub hosts_entry: Vec<String>,
}

fn all<T>(
    option: &str,
    words: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Failure> {
    let wrong = |why| Failure::message(format!("--{option}: {why}"));
    words.iter().map(|word| parse(word).map_err(wrong)).collect()
}

impl WorldArgs {
    /// The variables, in order.
    pub fn environment(&self) -> Result<Vec<(String, String)>, Failure> {
        // The value may be a secret: only the name is ever repeated.
        let pair = |entry: &String| {
            let (name, value) = entry.split_once('=').ok_or_else(|| {
                Failure::message(format!("--env {entry}: not of the form NAME=value"))
            })?;
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(Failure::message(format!("--env: {name:?} is not a variable's name")));
            }
            Ok((name.to_owned(), value.to_owned()))
        };
        self.env.iter().map(pair).collect()
    }

    /// Lays the rest over what the pod file says.
    pub fn apply(&self, pod: &mut PodFile) -> Result<(), Failure> {
        if let Some(name) = all("hostname", self.hostname.as_slice(), parse_hostname)?.pop() {
            pod.hostname = Some(name);
        }
        if let Some(dns) = self.dns()? {
            pod.dns = dns;
        }
        match self.hosts_entry.as_slice() {
            [] => {}
            [word] if word == "host" => pod.hosts = Hosts::Host,
            entries => {
                let entries = all("hosts-entry", entries, hosts_entry)?;
                match &mut pod.hosts {
                    Hosts::Own(list) => list.extend(entries),
                    Hosts::Host => pod.hosts = Hosts::Own(entries),
                }
            }
        }
        Ok(())
    }

    /// Together they are the whole file; without any of them the pod file decides.
    fn dns(&self) -> Result<Option<Dns>, Failure> {
        let resolver = Resolver {
            servers: Vec::new(),
            search: all("dns-search", &self.dns_search, parse_domain)?,
            options: all("dns-opt", &self.dns_opt, parse_dns_option)?,
            domain: all("dns-domain", self.dns_domain.as_slice(), parse_domain)?.pop(),
        };
        let empty = resolver == Resolver::default();
        match self.dns.as_slice() {
            [] if empty => Ok(None),
            [word] if word == "host" && empty => Ok(Some(Dns::Host)),
            [word] if word == "none" && empty => Ok(Some(Dns::None)),
            servers if servers.iter().any(|word| word == "host" || word == "none") => {
                let text = "--dns=host and --dns=none stand alone: they are the whole file";
                Err(Failure::message(text))
            }
            servers => {
                let servers = all("dns", servers, parse_address)?;
                Ok(Some(Dns::Own(Resolver { servers, ..resolver })))
            }
        }
    }
}

fn hosts_entry(text: &str) -> Result<(String, std::net::IpAddr), String> {
    let (address, name) =
        text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form IP=NAME"))?;
    Ok((parse_domain(name)?, parse_address(address)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    fn applied(args: &WorldArgs, text: &str) -> Result<PodFile, Failure> {
        let text = format!("network = \"none\"\n{text}\n[app.a]\nimage = \"i\"\n");
        let mut pod = rocket_podfile::parse(std::path::Path::new("p"), &text).unwrap();
        args.apply(&mut pod).map(|()| pod)
    }

    #[test]
    fn the_command_line_wins_over_the_pod_file() {
        let own = "hostname = \"a\"\ndns = { servers = [\"192.0.2.1\"] }\n\
                   hosts = { one = \"192.0.2.2\" }";
        let pod = applied(&WorldArgs::default(), own).unwrap();
        assert_eq!(pod.hostname.as_deref(), Some("a"));
        assert!(matches!(&pod.dns, Dns::Own(own) if own.servers.len() == 1));
        let args = WorldArgs {
            hostname: Some("b".into()),
            dns_opt: words(&["ndots:1"]),
            hosts_entry: words(&["192.0.2.3=two", "2001:db8::1=three"]),
            ..WorldArgs::default()
        };
        let pod = applied(&args, own).unwrap();
        assert_eq!(pod.hostname.as_deref(), Some("b"));
        assert!(matches!(&pod.dns, Dns::Own(own) if own.servers.is_empty()));
        assert!(matches!(&pod.hosts, Hosts::Own(list) if list.len() == 3));
        let args = WorldArgs {
            dns: words(&["none"]),
            hosts_entry: words(&["host"]),
            ..WorldArgs::default()
        };
        let pod = applied(&args, own).unwrap();
        assert_eq!((pod.dns, pod.hosts), (Dns::None, Hosts::Host));
    }

    #[test]
    fn words_that_make_no_sense_are_refused() {
        for (dns, search, hosts) in [
            (&["host", "192.0.2.1"][..], &[][..], &[][..]),
            (&["none"], &["a.example"], &[]),
            (&["resolver.example"], &[], &[]),
            (&[], &["a b"], &[]),
            (&[], &[], &["host", "192.0.2.1=a"]),
            (&[], &[], &["a=192.0.2.1"]),
            (&[], &[], &["192.0.2.1"]),
        ] {
            let args = WorldArgs {
                dns: words(dns),
                dns_search: words(search),
                hosts_entry: words(hosts),
                ..WorldArgs::default()
            };
            assert!(applied(&args, "").is_err(), "{dns:?} {search:?} {hosts:?}");
        }
    }
}
