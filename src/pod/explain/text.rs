//! An explanation for people.

use super::score::AppScore;
use super::{AppView, Explanation, FilterView, From, MountView, Place, PodView, UNKNOWN, Unknown};
use rocket_plan::{
    DeviceKind, DeviceRule, ExitPolicy, Isolators, Kind, LimitFile, Network, Restart, RestartRules,
};
use std::fmt::Write;

/// Width of the column of names.
const WIDTH: usize = 16;

struct Page(String);

impl Page {
    fn head(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// A name and its value; nothing for an empty value.
    fn line(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let _ = writeln!(self.0, "  {name:WIDTH$} {value}");
        }
    }

    /// One line a value, the name before the first.
    fn list(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        let mut name = name;
        for value in values {
            self.line(name, &value);
            name = "";
        }
    }
}

/// The explanation as a page.
pub fn text(of: &Explanation) -> String {
    let mut page = Page(String::new());
    pod(&mut page, of);
    for app in &of.apps {
        self::app(&mut page, app);
    }
    let score = &of.score;
    let _ = write!(page.0, "\nexposure {} {} (app {})", score.exposure, score.word, score.app);
    page.0
}

fn pod(page: &mut Page, of: &Explanation) {
    let view = &of.pod;
    let name = view.name.as_deref().unwrap_or("without a name");
    match &of.from {
        From::PodFile { files } => page.head(&format!("pod {name}, from {}", files.join(", "))),
        From::Instance { uuid, state } => page.head(&format!("pod {name}, {uuid}, {state}")),
    }
    page.line("host name", &view.hostname);
    page.line("namespaces", &view.namespaces.join(" "));
    page.line("of the host", &view.shared_namespaces.join(" "));
    page.line(
        "network",
        match view.network {
            Network::Host => "the host's",
            Network::None => "its own, loopback only",
        },
    );
    page.line("ids", &ids(view));
    page.list("sysctls", view.sysctls.iter().map(|(name, value)| format!("{name} = {value}")));
    page.line(
        "ends",
        &match &view.exit_policy {
            ExitPolicy::AnyFailure => "with the first app that fails, or with the last".to_owned(),
            ExitPolicy::AllDone => "with the last app".to_owned(),
            ExitPolicy::App(app) => format!("with app {app}"),
        },
    );
    let unit = &view.unit;
    page.line("stops within", &time(view.stop_deadline_ms));
    page.line("slice", unit.slice.as_deref().unwrap_or(""));
    page.list("limits", unit.limits.iter().map(|(name, value)| format!("{name}={value}")));
    isolators(page, &view.isolators);
    page.list("weakened", view.weakened.iter().cloned());
}

fn ids(view: &PodView) -> String {
    match &view.ids {
        None => "those of the host".to_owned(),
        Some(ids) => match ids.base {
            Some(base) => format!("0 to {} inside are {base} and up outside", ids.count - 1),
            None => format!("{} of its own outside, chosen at the start", ids.count),
        },
    }
}

fn app(page: &mut Page, app: &AppView) {
    page.head(&format!("app {}", app.name));
    let unknown = |value: Option<String>| value.unwrap_or_else(|| UNKNOWN.to_owned());
    let id = app.image_id.as_deref().unwrap_or("unknown here");
    page.line("image", &format!("{}  {id}", app.image));
    page.line("program", &unknown(app.program.as_ref().map(|words| quoted(words))));
    page.line("directory", &unknown(app.working_directory.clone()));
    page.line("user", &unknown(id_of(app.uid, app.host_uid)));
    page.line("group", &unknown(id_of(app.gid, app.host_gid)));
    let numbers = |list: &Vec<u32>| list.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    page.line("groups", &unknown(app.groups.as_ref().map(numbers)));
    page.line("environment", &app.environment.join(" "));
    capabilities(page, app);
    page.line("new privileges", if app.no_new_privileges { "none" } else { "possible" });
    if app.securebits != 0 {
        page.line("securebits", &format!("{:#x}", app.securebits));
    }
    page.list("seccomp", filter(&app.seccomp));
    page.list("mounts", app.mounts.iter().map(mount));
    page.line(
        "devices",
        &app.devices.iter().map(|d| d.path.as_str()).collect::<Vec<_>>().join(" "),
    );
    let rule = |rule: &DeviceRule| {
        let kind = match rule.kind {
            DeviceKind::Block => "block",
            DeviceKind::Character => "char",
        };
        let minor = rule.minor.map_or("*".to_owned(), |minor| minor.to_string());
        let mknod = if rule.mknod { " and make" } else { "" };
        format!("{kind} {}:{minor}{mknod}", rule.major)
    };
    let rules = app.device_rules.as_ref().map(|list| list.iter().map(rule).collect::<Vec<_>>());
    page.line("may open", &rules.map(|list| list.join(", ")).unwrap_or_default());
    page.line("apparmor", app.apparmor.as_deref().unwrap_or_default());
    page.line("selinux", app.selinux.as_deref().unwrap_or_default());
    page.line("masked", &app.masked_paths.join(" "));
    page.line("read-only", &app.read_only_paths.join(" "));
    let bound = |value: Option<u64>| value.map_or("infinity".to_owned(), |v| v.to_string());
    page.list(
        "rlimits",
        app.rlimits.iter().map(|l| format!("{} {} {}", l.resource, bound(l.soft), bound(l.hard))),
    );
    page.line("oom score", &app.oom_score_adj.to_string());
    page.line("leaf", app.leaf.as_deref().unwrap_or("none"));
    page.list("limits", app.limits.iter().map(limit));
    isolators(page, &app.isolators);
    life(page, app);
    let blank = |u: &&Unknown| u.why != UNKNOWN;
    page.list(
        "unknown",
        app.unknown.iter().filter(blank).map(|u| format!("{}: {}", u.field, u.why)),
    );
    let named: Vec<&str> =
        app.unknown.iter().filter(|u| u.why == UNKNOWN).map(|u| u.field).collect();
    if !named.is_empty() {
        page.line("unknown", &format!("{}: {UNKNOWN}", named.join(", ")));
    }
    score(page, &app.score);
}

fn limit(limit: &LimitFile) -> String {
    let mut text = format!("{} = {}", limit.file, limit.value);
    for (file, value) in &limit.or {
        let _ = write!(text, ", or {file} = {value}");
    }
    if !limit.required {
        text.push_str(", if it can be");
    }
    if let Some(why) = &limit.changed {
        let _ = write!(text, " ({why})");
    }
    text
}

fn isolators(page: &mut Page, of: &Isolators) {
    let lists = [("in force", &of.enforced), ("changed", &of.changed), ("ignored", &of.ignored)];
    for (what, list) in lists {
        page.list(what, list.iter().map(|i| format!("{}: {}", i.name, i.detail)));
    }
}

fn id_of(inside: Option<u32>, outside: Option<u32>) -> Option<String> {
    let inside = inside?;
    Some(match outside {
        Some(outside) if outside != inside => format!("{inside}, outside {outside}"),
        Some(_) => format!("{inside}, also outside"),
        None => format!("{inside}, outside one of the pod's own"),
    })
}

fn quoted(words: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && !b"'\"\\$`".contains(&b))
    };
    let words: Vec<String> = words
        .iter()
        .map(|word| if plain(word) { word.clone() } else { format!("{word:?}") })
        .collect();
    words.join(" ")
}

fn capabilities(page: &mut Page, app: &AppView) {
    let Some(sets) = &app.capabilities else {
        page.line("capabilities", UNKNOWN);
        return;
    };
    for (name, set) in [
        ("cap bounding", &sets.bounding),
        ("cap effective", &sets.effective),
        ("cap permitted", &sets.permitted),
        ("cap inheritable", &sets.inheritable),
        ("cap ambient", &sets.ambient),
    ] {
        page.line(name, &if set.is_empty() { "none".to_owned() } else { set.join(" ") });
    }
}

fn filter(view: &FilterView) -> Vec<String> {
    if !view.installed {
        return vec!["no filter: every call is let through".to_owned()];
    }
    let mut lines = vec![format!(
        "{} calls allowed, {} by their arguments",
        view.allowed.len(),
        view.conditional.len()
    )];
    lines.extend(view.refused.iter().map(|(how, calls)| format!("{} refused: {how}", calls.len())));
    if !view.conditional.is_empty() {
        let names: Vec<&str> = view.conditional.keys().copied().collect();
        lines.push(format!("by arguments: {}", names.join(" ")));
    }
    let groups = view.groups.iter().map(|group| {
        let open = if group.open.is_empty() { "closed" } else { "open" };
        format!("{} {open} ({})", group.name, group.needs)
    });
    lines.push(format!("by capability: {}", groups.collect::<Vec<_>>().join(", ")));
    let others =
        view.other_conventions.iter().map(|(name, how)| format!("{name} {}", how.join(" or ")));
    lines.push(format!(
        "unknown calls: {}; other conventions: {}",
        view.unknown_calls.join(" or "),
        others.collect::<Vec<_>>().join(", ")
    ));
    lines
}

fn mount(mount: &MountView) -> String {
    let volume = mount.volume.as_ref().map(|name| format!("volume {name}, "));
    let options = mount.options.join(",");
    format!("{}  {}{}  {options}", mount.target, volume.unwrap_or_default(), place(&mount.source))
}

fn place(place: &Place) -> String {
    let bytes = |size: &Option<u64>| size.map_or(String::new(), |size| format!(", {size} bytes"));
    match place {
        Place::Overlay => "the image under a directory of the pod".to_owned(),
        Place::Host { path, recursive, .. } => {
            let below = if *recursive { " with what is mounted below" } else { "" };
            format!("host {}{below}", path.display())
        }
        Place::Pod { path } => format!("pod directory {}", path.display()),
        Place::State { path } => format!("state directory {}", path.display()),
        Place::Tmpfs { size, mode } => format!("tmpfs, mode {mode}{}", bytes(size)),
        Place::SharedTmpfs { name, size, mode, uid, gid } => {
            format!("tmpfs of the pod {name}, mode {mode}, owner {uid}:{gid}{}", bytes(size))
        }
        Place::Proc => "proc".to_owned(),
        Place::Sysfs => "sysfs".to_owned(),
        Place::Cgroup2 => "cgroup2, the leaf as root".to_owned(),
        Place::Dev => "tmpfs with the devices".to_owned(),
        Place::Devpts => "devpts".to_owned(),
        Place::Mqueue => "mqueue".to_owned(),
        Place::Credentials { names } => format!("credentials {}", names.join(", ")),
        Place::Unknown { name } => format!("descriptor {name}"),
    }
}

fn life(page: &mut Page, app: &AppView) {
    page.line(
        "kind",
        match app.kind {
            Kind::Service => "service",
            Kind::Oneshot => "oneshot",
        },
    );
    page.line("after", &app.after.join(" "));
    page.line("requires", &app.requires.join(" "));
    page.line("sockets", &app.sockets.join(" "));
    page.line("pre-start", &app.pre_start.as_deref().map(quoted).unwrap_or_default());
    page.line("post-stop", &app.post_stop.as_deref().map(quoted).unwrap_or_default());
    let rules = |rules: &RestartRules| {
        format!(
            "after {}, doubled up to {}; at most {} in {}",
            time(rules.delay_ms),
            time(rules.max_delay_ms),
            rules.limit_count,
            time(rules.limit_window_ms)
        )
    };
    page.line(
        "restart",
        &match &app.restart {
            Restart::No => "no".to_owned(),
            Restart::OnFailure(of) => format!("on failure, {}", rules(of)),
            Restart::Always(of) => format!("always, {}", rules(of)),
        },
    );
    let signal = app.stop_signal.map_or_else(|| UNKNOWN.to_owned(), |n| format!("signal {n}"));
    page.line("stop", &format!("{signal}, SIGKILL after {}", time(app.stop_timeout_ms)));
}

fn time(ms: u64) -> String {
    if ms.is_multiple_of(1000) { format!("{} s", ms / 1000) } else { format!("{ms} ms") }
}

fn score(page: &mut Page, score: &AppScore) {
    page.line("exposure", &format!("{} {}", score.exposure, score.word));
    let name = score.lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    for line in &score.lines {
        let mark = if line.badness == 0 { '+' } else { '-' };
        let _ = writeln!(
            page.0,
            "    {mark} {:name$}  {:>4}  {:>4.2}  {}",
            line.name, line.weight, line.cost, line.description
        );
    }
}
