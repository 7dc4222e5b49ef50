//! Unit properties as plain data: what a transient scope or service is made of.
//!
//! Names and types are those of org.freedesktop.systemd1(5). Which property goes on which kind of
//! unit is decided here; the bus only carries it.

use super::limits::{LimitError, from_directives};

/// The slice of every pod.
pub const SLICE: &str = "rocket.slice";
/// SIGURG: ignored by default, so only init hears it. With `KillMode=control-group` it is the
/// ordered stop of a scope, which has no main process that systemd could ask instead.
const SCOPE_STOP_SIGNAL: i32 = 23;

/// One property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its D-Bus name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

impl Property {
    /// A property by name and value.
    pub fn new(name: &str, value: Value) -> Self {
        Self { name: name.to_owned(), value }
    }
}

/// A value with the D-Bus type that systemd wants for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `i`
    I32(i32),
    /// `t`
    U64(u64),
    /// `s`
    Text(String),
    /// `as`
    Texts(Vec<String>),
    /// `au`
    Pids(Vec<u32>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `aay`
    ByteStrings(Vec<Vec<u8>>),
    /// `a(st)`
    DeviceRates(Vec<(String, u64)>),
    /// `a(sasb)` with one entry.
    Exec {
        /// Absolute path of the program.
        path: String,
        /// Its argument list, program name first.
        argv: Vec<String>,
    },
}

/// What every transient unit of a pod has.
#[derive(Clone, Debug)]
pub struct Unit<'a> {
    /// `Description=`
    pub description: &'a str,
    /// `Slice=`
    pub slice: &'a str,
    /// `TimeoutStopUSec=`
    pub stop_usec: u64,
    /// Pod limits as directives (`MemoryMax`, `268435456`).
    pub limits: &'a [(String, String)],
}

impl Unit<'_> {
    fn common(&self) -> Result<Vec<Property>, LimitError> {
        let mut list = vec![
            Property::new("Description", Value::Text(self.description.to_owned())),
            Property::new("Slice", Value::Text(self.slice.to_owned())),
            Property::new("Delegate", Value::Bool(true)),
            Property::new("CollectMode", Value::Text("inactive-or-failed".to_owned())),
            Property::new("TimeoutStopUSec", Value::U64(self.stop_usec)),
        ];
        list.extend(from_directives(self.limits)?);
        Ok(list)
    }
}

/// Properties of the scope of a foreground pod that holds the process `pid`.
///
/// # Errors
/// A limit that has no transient form.
pub fn scope(unit: &Unit<'_>, pid: u32) -> Result<Vec<Property>, LimitError> {
    let mut list = unit.common()?;
    list.extend([
        Property::new("PIDs", Value::Pids(vec![pid])),
        Property::new("KillMode", Value::Text("control-group".to_owned())),
        Property::new("KillSignal", Value::I32(SCOPE_STOP_SIGNAL)),
    ]);
    Ok(list)
}

/// What a transient service has beyond [`Unit`].
#[derive(Clone, Debug)]
pub struct Service<'a> {
    /// Program and arguments; the first is an absolute path.
    pub argv: &'a [String],
    /// Pod name for `LogExtraFields=`, if it has one.
    pub pod_name: Option<&'a str>,
    /// `TimeoutStartUSec=`
    pub start_usec: u64,
    /// `Environment=` entries.
    pub environment: &'a [String],
}

/// Properties of the transient service of a detached pod: the template's, as D-Bus says them.
///
/// # Errors
/// A limit that has no transient form.
pub fn service(unit: &Unit<'_>, service: &Service<'_>) -> Result<Vec<Property>, LimitError> {
    let path = service.argv.first().cloned().unwrap_or_default();
    let mut list = unit.common()?;
    list.extend([
        Property::new("Type", Value::Text("notify".to_owned())),
        Property::new("NotifyAccess", Value::Text("main".to_owned())),
        Property::new("KillMode", Value::Text("mixed".to_owned())),
        Property::new("OOMPolicy", Value::Text("continue".to_owned())),
        Property::new("TimeoutStartUSec", Value::U64(service.start_usec)),
        Property::new("Environment", Value::Texts(service.environment.to_vec())),
        Property::new("ExecStart", Value::Exec { path, argv: service.argv.to_vec() }),
    ]);
    if let Some(name) = service.pod_name {
        let field = format!("ROCKET_POD={name}").into_bytes();
        list.push(Property::new("LogExtraFields", Value::ByteStrings(vec![field])));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit<'a>(limits: &'a [(String, String)]) -> Unit<'a> {
        Unit { description: "pod", slice: SLICE, stop_usec: 15_000_000, limits }
    }

    fn value<'a>(list: &'a [Property], name: &str) -> Option<&'a Value> {
        list.iter().find(|p| p.name == name).map(|p| &p.value)
    }

    #[test]
    fn a_scope_is_stopped_by_a_signal_only_init_answers() {
        let list = scope(&unit(&[]), 42).unwrap();
        assert_eq!(value(&list, "KillMode"), Some(&Value::Text("control-group".into())));
        assert_eq!(value(&list, "KillSignal"), Some(&Value::I32(23)));
        assert_eq!(value(&list, "PIDs"), Some(&Value::Pids(vec![42])));
        // A scope refuses settings of a process it did not start.
        assert_eq!(value(&list, "LogExtraFields"), None);
        assert_eq!(value(&list, "OOMPolicy"), None);
    }

    #[test]
    fn limits_of_the_pod_are_on_the_unit() {
        let limits = [("MemoryMax".to_owned(), "1048576".to_owned())];
        let list = scope(&unit(&limits), 1).unwrap();
        assert_eq!(value(&list, "MemoryMax"), Some(&Value::U64(1_048_576)));
    }
}
