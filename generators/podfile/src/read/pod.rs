//! The pod file as a whole.

use super::app::app;
use super::check;
use super::limits::limits;
use super::names::{dns, hosts};
use super::parts::{credentials, port, schedule, unit, volume};
use super::section::{Report, Section};
use crate::grammar;
use crate::names::parse_hostname;
use crate::pod::{ExitPolicy, Log, Network, PodFile, PodSecurity};
use crate::support::unsupported;
use crate::tree::{Node, Problem, Value};
use crate::values::name::{is_name, parse_name};

/// Reads a merged tree. Without problems the pod file is complete and true to the grammar, and
/// needs nothing that this release lacks; with problems it has defaults where they are.
pub(crate) fn read(tree: &Node) -> (Option<PodFile>, Vec<Problem>) {
    let report = Report::default();
    let Some(top) = Section::open(&report, tree, "", grammar::TOP) else {
        return (None, report.into_problems());
    };
    let mut pod = PodFile {
        version: version(&top),
        description: top.text("description", description),
        network: network(&top),
        hostname: top.text("hostname", parse_hostname),
        dns: dns(&top),
        hosts: hosts(&top),
        flavour: top.text("flavour", parse_name).unwrap_or_else(|| "ns".to_owned()),
        exit_policy: top.text("exit-policy", exit_policy).unwrap_or(ExitPolicy::AnyFailure),
        log: top
            .choice("log", &[("stream", Log::Stream), ("fields", Log::Fields)])
            .unwrap_or(Log::Stream),
        apps: top.named("app", grammar::APP).into_iter().map(|(n, s)| app(n, &s)).collect(),
        volumes: top
            .named("volume", grammar::VOLUME)
            .into_iter()
            .map(|(n, s)| volume(n, &s))
            .collect(),
        ports: top
            .named("port", grammar::PORT)
            .into_iter()
            .filter_map(|(name, section)| port(name, &section))
            .collect(),
        limits: limits(&top, "limits"),
        security: security(&top),
        sysctls: super::security::sysctls(&top),
        credentials: credentials(&top),
        unit: unit(&top),
        schedule: schedule(&top),
    };
    check::references(&mut pod, &top);
    let mut problems = report.into_problems();
    if let Value::Table(table) = &tree.value {
        problems.extend(unsupported(table));
    }
    (Some(pod), problems)
}

fn version(top: &Section<'_>) -> u32 {
    if let Some(node) = top.node("version") {
        match node.value {
            Value::Integer(Some(1)) => {}
            Value::Integer(_) => top.report.error(node.pos, "this release reads version = 1"),
            _ => top.report.expected(node, "version", "a number"),
        }
    }
    1
}

fn description(text: &str) -> Result<String, String> {
    if text.len() > 512 {
        Err("the description has at most 512 bytes".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn network(top: &Section<'_>) -> Network {
    match top.node("network") {
        None => {
            let hint =
                "network = \"none\" is a loopback of its own, \"host\" is the host's network";
            top.missing("network", hint);
        }
        Some(Node { value: Value::String(word), pos }) => match word.as_str() {
            "host" => return Network::Host,
            "none" => {}
            "default" => return Network::Default,
            "restricted" => return Network::Restricted,
            _ => {
                let message = format!(
                    "network is one of \"host\", \"none\", \"default\", \"restricted\" or a list of \
                     networks; not {word:?}"
                );
                let words = ["host", "none", "default", "restricted"];
                let near = crate::suggest::nearest(word, &words);
                let hint = near.map(|near| format!("did you mean {near:?}?"));
                top.report.error_with(*pos, message, hint);
            }
        },
        Some(Node { value: Value::Array(_), .. }) => {
            return Network::Named(top.list("network", parse_name).unwrap_or_default());
        }
        Some(node) => top.report.expected(node, "network", "a word or a list of networks"),
    }
    Network::None
}

fn exit_policy(text: &str) -> Result<ExitPolicy, String> {
    match (text, text.strip_prefix("app:")) {
        ("any-failure", _) => Ok(ExitPolicy::AnyFailure),
        ("all-done", _) => Ok(ExitPolicy::AllDone),
        (_, Some(app)) if is_name(app) => Ok(ExitPolicy::App(app.to_owned())),
        _ => Err(format!(
            "exit-policy is one of \"any-failure\", \"all-done\", \"app:NAME\"; not {text:?}"
        )),
    }
}

fn security(top: &Section<'_>) -> PodSecurity {
    match top.section("security", "security", grammar::POD_SECURITY) {
        None => PodSecurity::default(),
        Some(keys) => PodSecurity { user_namespace: keys.boolean("user-namespace", true) },
    }
}
