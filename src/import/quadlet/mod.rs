//! Podman's units: a pod for each `.pod`, and for each `.container` that is in none.

mod container;
mod specifier;
mod systemd;

use super::container::{Container, Source};
use super::sheet::Sheet;
use super::unit_file::{self, Line};
use super::{ImportError, Input, Loss, Options, Place};
use specifier::Specifiers;
use std::collections::BTreeMap;

/// A unit with its drop-ins.
struct Unit {
    /// `web.container`, `web@.container`.
    file: String,
    place: Place,
    lines: Vec<Line>,
}

impl Unit {
    /// `web`, `web@`.
    fn stem(&self) -> &str {
        self.file.rsplit_once('.').map_or(self.file.as_str(), |(stem, _)| stem)
    }

    fn kind(&self) -> &str {
        self.file.rsplit_once('.').map_or("", |(_, kind)| kind)
    }

    fn last(&self, section: &str, key: &str) -> Option<&str> {
        let line = self.lines.iter().rev().find(|line| line.section == section && line.key == key);
        line.map(|line| line.value.as_str())
    }
}

/// All units, by file name.
pub(super) struct Units {
    all: BTreeMap<String, Unit>,
}

impl Units {
    /// The unit of systemd's that a file stands for, as a pod: `db.service` is the pod of `db.container`.
    fn pod_of(&self, service: &str) -> Option<String> {
        let stem = service.strip_suffix(".service")?;
        if let Some(unit) = self.all.get(&format!("{stem}.container")) {
            let pod = unit.last("Container", "Pod").and_then(|pod| pod.strip_suffix(".pod"));
            return Some(super::sheet::name_of(pod.unwrap_or(stem)));
        }
        let pod = stem.strip_suffix("-pod")?;
        self.all.contains_key(&format!("{pod}.pod")).then(|| super::sheet::name_of(pod))
    }

    /// Whether the service only made something that a pod has without it.
    fn is_helper(&self, service: &str) -> bool {
        ["volume", "network", "image", "build"].iter().any(|kind| {
            let stem = service.strip_suffix(&format!("-{kind}.service"));
            stem.is_some_and(|stem| self.all.contains_key(&format!("{stem}.{kind}")))
        })
    }
}

/// Reads all files; those of `NAME.container.d/` are drop-ins of `NAME.container`.
pub(super) fn read(
    inputs: &[Input],
    options: &Options,
) -> Result<(Vec<Sheet>, Vec<Loss>), ImportError> {
    let mut units = Units { all: BTreeMap::new() };
    let mut drop_ins: Vec<(String, &Input)> = Vec::new();
    for input in inputs {
        let mut parts = input.path.rsplit('/');
        let file = parts.next().unwrap_or_default().to_owned();
        let above = parts.next().unwrap_or_default();
        if let (Some(of), true) = (above.strip_suffix(".d"), file.ends_with(".conf")) {
            drop_ins.push((of.to_owned(), input));
            continue;
        }
        let place = Place { file: input.path.as_str().into(), line: 1, column: 1 };
        let mut lines = Vec::new();
        unit_file::read(input, &mut lines)?;
        if file == "-" || !file.contains('.') {
            return Err(ImportError::new(&place, "the name of a quadlet file says what it is")
                .hint("NAME.container, .pod, .volume, .network or .image"));
        }
        units.all.insert(file.clone(), Unit { file, place, lines });
    }
    drop_ins.sort_by(|a, b| {
        let name = |input: &Input| input.path.rsplit('/').next().unwrap_or_default().to_owned();
        name(a.1).cmp(&name(b.1))
    });
    let mut losses = Vec::new();
    for (of, input) in drop_ins {
        match units.all.get_mut(&of) {
            Some(unit) => unit_file::read(input, &mut unit.lines)?,
            None => losses.push(Loss {
                place: Place { file: input.path.as_str().into(), line: 1, column: 1 },
                key: of,
                why: "a drop-in of a unit that is not here".to_owned(),
                todo: "import it together with its unit".to_owned(),
            }),
        }
    }
    let mut sheets = Vec::new();
    for unit in units.all.values() {
        match unit.kind() {
            "pod" => sheets.push(pod(&units, unit, options)?),
            "container" => match unit.last("Container", "Pod") {
                Some(pod) if units.all.contains_key(pod) => {}
                Some(pod) => {
                    let message = format!("its pod, {pod}, is not here");
                    return Err(ImportError::new(&unit.place, message).hint("import them together"));
                }
                None => sheets.push(single(&units, unit, options)?),
            },
            kind => {
                if let Some(loss) = other(&units, unit, kind) {
                    losses.push(loss);
                }
            }
        }
    }
    Ok((sheets, losses))
}

/// A unit that is no pod: what of it is lost when nobody refers to it, or at all.
fn other(units: &Units, unit: &Unit, kind: &str) -> Option<Loss> {
    let used = units.all.values().any(|other| {
        other
            .lines
            .iter()
            .any(|line| line.value.split([':', ',', '=']).any(|part| part == unit.file))
    });
    let (why, todo) = match kind {
        "volume" | "image" if used => return None,
        "volume" => ("no container that is imported mounts it", ""),
        "image" => ("no container that is imported uses it", "rocket fetch"),
        "network" => ("a pod has no networks of its own yet: it is on the host's", ""),
        "build" => ("rocket does not build images", "build it, then: rocket fetch oci:DIR"),
        "kube" => ("the objects are in another file", "rocket import kube FILE"),
        _ => ("not a kind of unit that is imported", ""),
    };
    Some(Loss {
        place: unit.place.clone(),
        key: unit.file.clone(),
        why: why.to_owned(),
        todo: todo.to_owned(),
    })
}

fn new_sheet(unit: &Unit) -> (Sheet, Specifiers) {
    let stem = unit.stem();
    let mut sheet = Sheet::new(stem.trim_end_matches('@'), &unit.place);
    sheet.template = stem.ends_with('@');
    (sheet, Specifiers::new(stem))
}

fn single(units: &Units, unit: &Unit, options: &Options) -> Result<Sheet, ImportError> {
    let (mut sheet, specifiers) = new_sheet(unit);
    let lines = specifiers.expanded(&unit.lines, &options.home, &mut sheet)?;
    container::container(&mut sheet, units, unit, &lines, options)?;
    systemd::unit(&mut sheet, units, &lines);
    Ok(sheet)
}

fn pod(units: &Units, unit: &Unit, options: &Options) -> Result<Sheet, ImportError> {
    let (mut sheet, specifiers) = new_sheet(unit);
    let lines = specifiers.expanded(&unit.lines, &options.home, &mut sheet)?;
    let members: Vec<&Unit> = units
        .all
        .values()
        .filter(|other| {
            other.kind() == "container" && other.last("Container", "Pod") == Some(&unit.file)
        })
        .collect();
    let Some(first) = members.first() else {
        return Err(
            ImportError::new(&unit.place, "no container is in this pod").hint("Pod=NAME.pod")
        );
    };
    for member in &members {
        let stem = member.stem();
        let lines = Specifiers::new(stem).expanded(&member.lines, &options.home, &mut sheet)?;
        container::container(&mut sheet, units, member, &lines, options)?;
        let at = sheet.apps.last().cloned().unwrap_or_default();
        systemd::member(&mut sheet, units, &format!("app.{at}"), &unit.file, &lines);
    }
    // What the pod says of ports, names and volumes holds for its first container.
    let first_app = super::sheet::name_of(first.stem());
    container::pod_keys(&mut sheet, units, &first_app, &lines, options)?;
    systemd::unit(&mut sheet, units, &lines);
    Ok(sheet)
}

/// A container of the sheet that is there already, for keys of the pod.
fn again<'a>(
    sheet: &'a mut Sheet,
    options: &'a Options,
    name: &str,
    place: &Place,
) -> Container<'a> {
    let mut container = Container::new(sheet, options, Source::Podman, "pod-keys", place);
    container.sheet.apps.retain(|app| app != "pod-keys");
    container.sheet.sections.retain(|section| section.title != "app.pod-keys");
    name.clone_into(&mut container.name);
    container.at = format!("app.{name}");
    container
}
