//! Jobs of the system's service manager over D-Bus, each awaited to its end.
//!
//! The signal `JobRemoved` is subscribed to before the call that makes the job, so that a job which
//! ends at once is not missed (org.freedesktop.systemd1(5)).

use super::properties::{Property, Value};
use futures_core::Stream;
use std::pin::Pin;
use thiserror::Error;
use zbus::{Array, Connection, OwnedObjectPath, Variant};

/// What can go wrong when asking systemd for something.
#[derive(Debug, Error)]
pub enum BusError {
    /// The system bus cannot be reached.
    #[error("cannot reach the system bus")]
    Connect(#[source] zbus::Error),
    /// systemd refused the call.
    #[error("systemd refused to {what}")]
    Call {
        /// The verb and its object.
        what: String,
        /// Its answer.
        #[source]
        source: zbus::Error,
    },
    /// The job ran and did not succeed.
    #[error("the job to {what} ended with result {result:?}")]
    Job {
        /// The verb and its object.
        what: String,
        /// systemd's word: `failed`, `timeout`, `canceled`, `dependency`, …
        result: String,
    },
    /// The bus closed the connection while a job was awaited.
    #[error("the system bus closed the connection while waiting to {what}")]
    Closed {
        /// The verb and its object.
        what: String,
    },
}

impl BusError {
    /// Whether systemd knows no unit of that name, or no longer.
    pub fn no_such_unit(&self) -> bool {
        let Self::Call { source: zbus::Error::MethodError(name, _, _), .. } = self else {
            return false;
        };
        name.as_str() == "org.freedesktop.systemd1.NoSuchUnit"
    }
}

#[allow(missing_docs)] // generated; the methods are systemd's own
mod proxy {
    use zbus::{OwnedObjectPath, Variant};

    #[zbus::proxy(
        default_service = "org.freedesktop.systemd1",
        default_path = "/org/freedesktop/systemd1",
        interface = "org.freedesktop.systemd1.Manager"
    )]
    pub trait Manager {
        fn start_transient_unit(
            &self,
            name: &str,
            mode: &str,
            properties: &[(&str, Variant<'_>)],
            aux: &[(&str, Vec<(&str, Variant<'_>)>)],
        ) -> zbus::Result<OwnedObjectPath>;
        fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
        fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
        fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
        fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
        fn reload(&self) -> zbus::Result<()>;
        #[zbus(signal)]
        fn job_removed(
            &self,
            id: u32,
            job: OwnedObjectPath,
            unit: String,
            result: String,
        ) -> zbus::Result<()>;
    }
}
use proxy::ManagerProxy;

/// What is asked of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it.
    Restart,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// Runs `verb` on `unit` and waits for the end of its job.
///
/// # Errors
/// No bus, a refusal, or a job that did not end with `done`.
pub fn unit_job(verb: Verb, unit: &str) -> Result<(), BusError> {
    let what = format!("{} {unit}", verb.word());
    zbus::block_on(async {
        let connection = connect().await?;
        let manager = manager(&connection, &what).await?;
        run_job(&manager, &what, async || match verb {
            Verb::Start => manager.start_unit(unit, "replace").await,
            Verb::Stop => manager.stop_unit(unit, "replace").await,
            Verb::Restart => manager.restart_unit(unit, "replace").await,
        })
        .await
    })
}

/// Creates the transient unit `name` and waits until it has started.
///
/// # Errors
/// No bus, a refusal (a property this systemd does not know, a name in use), or a failed start.
pub fn start_transient(name: &str, properties: &[Property]) -> Result<(), BusError> {
    start_transient_with(name, || Ok(properties.to_vec()))
}

/// The same for a unit whose properties are not known yet: the connection is made while whatever
/// `properties` waits for goes on elsewhere.
///
/// # Errors
/// As [`start_transient`], or what `properties` says.
pub fn start_transient_with<E: From<BusError>>(
    name: &str,
    properties: impl FnOnce() -> Result<Vec<Property>, E>,
) -> Result<(), E> {
    let what = format!("start the transient unit {name}");
    let refused = |source| BusError::Call { what: what.clone(), source };
    zbus::block_on(async {
        let connection = connect().await?;
        let manager = manager(&connection, &what).await?;
        let jobs = Jobs::watch(&manager, &what).await?;
        let properties = properties()?;
        let properties: Vec<(&str, Variant<'_>)> =
            properties.iter().map(|p| (p.name.as_str(), variant(&p.value))).collect();
        let job =
            manager.start_transient_unit(name, "fail", &properties, &[]).await.map_err(refused)?;
        Ok(jobs.done(&job, &what).await?)
    })
}

/// Has systemd run its generators and read its units anew.
///
/// # Errors
/// No bus, or a refusal.
pub fn daemon_reload() -> Result<(), BusError> {
    let what = "reload systemd's units".to_owned();
    zbus::block_on(async {
        let connection = connect().await?;
        let manager = manager(&connection, &what).await?;
        manager.reload().await.map_err(|source| BusError::Call { what: what.clone(), source })
    })
}

/// Forgets the failed state of `unit`, so that nothing is left behind.
///
/// # Errors
/// No bus, or no such unit.
pub fn reset_failed(unit: &str) -> Result<(), BusError> {
    let what = format!("forget the failure of {unit}");
    zbus::block_on(async {
        let connection = connect().await?;
        let manager = manager(&connection, &what).await?;
        manager
            .reset_failed_unit(unit)
            .await
            .map_err(|source| BusError::Call { what: what.clone(), source })
    })
}

async fn connect() -> Result<Connection, BusError> {
    Connection::system().await.map_err(BusError::Connect)
}

async fn manager<'a>(connection: &'a Connection, what: &str) -> Result<ManagerProxy<'a>, BusError> {
    // No property is read, so no property cache: it would cost a GetAll.
    ManagerProxy::builder(connection)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .map_err(|source| BusError::Call { what: what.to_owned(), source })
}

async fn run_job<F>(manager: &ManagerProxy<'_>, what: &str, call: F) -> Result<(), BusError>
where
    F: AsyncFnOnce() -> zbus::Result<OwnedObjectPath>,
{
    let jobs = Jobs::watch(manager, what).await?;
    let job = call().await.map_err(|source| BusError::Call { what: what.to_owned(), source })?;
    jobs.done(&job, what).await
}

/// The ends of systemd's jobs, from before the job is made.
struct Jobs(Pin<Box<proxy::JobRemovedStream>>);

impl Jobs {
    async fn watch(manager: &ManagerProxy<'_>, what: &str) -> Result<Self, BusError> {
        let refused = |source| BusError::Call { what: what.to_owned(), source };
        let removed = manager.receive_job_removed().await.map_err(refused)?;
        // Calls of one connection are answered in their order, so this one's answer is not waited
        // for: by the time the job is made, systemd sends signals.
        manager.inner().call_noreply("Subscribe", &()).await.map_err(refused)?;
        Ok(Self(Box::pin(removed)))
    }

    async fn done(mut self, job: &OwnedObjectPath, what: &str) -> Result<(), BusError> {
        loop {
            let Some(signal) = next(self.0.as_mut()).await else {
                return Err(BusError::Closed { what: what.to_owned() });
            };
            let args =
                signal.args().map_err(|source| BusError::Call { what: what.to_owned(), source })?;
            if args.job != *job {
                continue;
            }
            return match args.result.as_str() {
                "done" => Ok(()),
                result => Err(BusError::Job { what: what.to_owned(), result: result.to_owned() }),
            };
        }
    }
}

async fn next<S: Stream>(mut stream: Pin<&mut S>) -> Option<S::Item> {
    std::future::poll_fn(|context| stream.as_mut().poll_next(context)).await
}

fn variant(value: &Value) -> Variant<'_> {
    match value {
        Value::Bool(value) => Variant::from(*value),
        Value::I32(value) => Variant::from(*value),
        Value::U64(value) => Variant::from(*value),
        Value::Text(value) => Variant::from(value.as_str()),
        Value::Texts(value) => Variant::from(value.iter().map(String::as_str).collect::<Vec<_>>()),
        Value::Pids(value) => Variant::from(value.clone()),
        Value::Bytes(value) => Variant::from(value.clone()),
        Value::ByteStrings(value) => Variant::from(value.clone()),
        Value::DeviceRates(value) => Variant::from(Array::from(
            value.iter().map(|(path, rate)| (path.as_str(), *rate)).collect::<Vec<_>>(),
        )),
        Value::Exec { path, argv } => Variant::from(Array::from(vec![(
            path.as_str(),
            argv.iter().map(String::as_str).collect::<Vec<_>>(),
            false,
        )])),
    }
}
