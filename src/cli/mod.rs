//! Words, not kernels: the command line, its output and its errors. One verb a file.

pub mod attach;
pub mod cat_manifest;
pub mod config;
pub mod detail;
pub mod enter;
pub mod error;
pub mod explain;
pub mod export;
pub mod fetch;
pub mod freed;
pub mod gc;
pub mod image;
pub mod import;
pub mod input;
pub mod insecure;
pub mod kill;
pub mod lint;
pub mod list;
pub mod logs;
pub mod output;
pub mod pack;
pub mod progress;
pub mod publish;
pub mod report;
pub mod run;
pub mod sign;
pub mod stop;
pub mod target;
pub mod top;
pub mod trust;
pub mod volume;
pub mod vouch;
pub mod wait;
pub mod world;

use crate::config::layers::Config;
use crate::config::paths::Paths;
use crate::image::transport;
use crate::image::unpack::{SUBCOMMAND, worker_main};
use crate::launch::keeper;
use crate::pod::ids::Pool;
use clap::{Parser, Subcommand};
use error::Failure;
use std::path::PathBuf;
use std::process::ExitCode;

/// Pods for Linux hosts that run systemd.
#[derive(Debug, Parser)]
#[command(name = "rocket", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Directory that holds all of rocket's state.
    #[arg(long, global = true, value_name = "DIR", env = "ROCKET_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pod in the foreground, or with --detach in the background.
    Run(Box<run::RunArgs>),
    /// Make a pod and do not run it yet; prints its UUID.
    Prepare(Box<run::PrepareArgs>),
    /// Run a prepared pod.
    RunPrepared(run::RunPreparedArgs),
    /// Start the units of pod files.
    Start(stop::NameArgs),
    /// Stop running pods, in order.
    Stop(stop::StopArgs),
    /// Restart the units of pod files, or single apps of pods that run.
    Restart(stop::RestartArgs),
    /// List pods.
    List(list::ListArgs),
    /// Say how a pod fares.
    Status(list::StatusArgs),
    /// Show what each running app uses, again and again on a terminal.
    Top(top::TopArgs),
    /// Wait until a pod has ended; ends with its status.
    Wait(wait::WaitArgs),
    /// Show what a pod's apps wrote.
    Logs(logs::LogsArgs),
    /// Send a signal to the apps of a running pod.
    Kill(kill::KillArgs),
    /// Sit down at the terminal of a running app.
    Attach(attach::AttachArgs),
    /// Run a command inside a running app.
    Enter(enter::EnterArgs),
    /// Print a pod's manifest: the reified appc PodManifest.
    CatManifest(cat_manifest::CatManifestArgs),
    /// Make an image of what an app has made of its root.
    Export(export::ExportArgs),
    /// Explain what a pod is to its apps and to the host, and how exposed it leaves the host.
    Explain(explain::ExplainArgs),
    /// Remove pods that do not run.
    Rm(gc::RmArgs),
    /// Remove what dead pods left.
    Gc(gc::GcArgs),
    /// Say what is wrong with pod files, and what this host makes of them.
    Lint(lint::LintArgs),
    /// Make pod files of what other programs read, and say what they do not carry.
    Import(Box<import::ImportArgs>),
    /// Show what is configured, and where it was said.
    Config(config::ConfigArgs),
    /// Bring an image into the store.
    Fetch(fetch::FetchArgs),
    /// Pack, list and remove images.
    Image(image::ImageArgs),
    /// List, remove and export volumes that are kept.
    Volume(volume::VolumeArgs),
    /// Say whose signatures this host believes, and for which names.
    Trust(trust::TrustArgs),
}

const SIGCHLD: i32 = 17;

/// Runs the program: parse, do, report once.
pub fn main() -> ExitCode {
    // Whoever started this program may ignore SIGCHLD (a shell's job control, a cron).
    if let Err(error) = rocket_sys::signal::reset(SIGCHLD) {
        return Failure::new(error).report();
    }
    // The unpack worker, a transport to be and the terminal's keeper are this program again; they parse nothing else.
    match std::env::args_os().nth(1) {
        Some(arg) if arg == SUBCOMMAND => return worker_main(),
        Some(arg) if arg == transport::SUBCOMMAND => return transport::sandbox_main(),
        Some(arg) if arg == keeper::SUBCOMMAND => return keeper::main(),
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return error::usage(&error),
    };
    match dispatch(cli) {
        Ok(code) => match output::lost() {
            None => code,
            Some(error) => {
                Failure::message(format!("cannot write to standard output: {error}")).report()
            }
        },
        Err(failure) => failure.report(),
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let config = match Config::load() {
        Ok(config) => config,
        // What runs can be looked at and stopped whatever is written there.
        Err(error) if matters_more(&cli.command) => {
            Failure::new(error).hint("the built-in configuration is used instead").report();
            Config::default()
        }
        Err(error) => return Err(error.into()),
    };
    let paths = Paths::new(cli.state_dir.as_ref().unwrap_or(&config.state_dir.value));
    let pool = Pool { first: config.ids_first.value, last: config.ids_last.value };
    match cli.command {
        Command::Run(args) => tell_unit(run::run(&paths, pool, *args)),
        Command::Prepare(args) => run::prepare(&paths, pool, *args),
        Command::RunPrepared(args) => tell_unit(run::run_prepared(&paths, args)),
        Command::Start(args) => stop::start(&args),
        Command::Stop(args) => stop::stop(&paths, &args),
        Command::Restart(args) => stop::restart(&paths, &args),
        Command::List(args) => list::list(&paths, args),
        Command::Status(args) => list::status(&paths, args),
        Command::Top(args) => top::run(&paths, &args),
        Command::Wait(args) => wait::run(&paths, &args),
        Command::Logs(args) => logs::run(&paths, &args),
        Command::Kill(args) => kill::run(&paths, &args),
        Command::Attach(args) => attach::run(&paths, &args),
        Command::Enter(args) => enter::run(&paths, args),
        Command::CatManifest(args) => cat_manifest::run(&paths, &args),
        Command::Export(args) => export::run(&paths, &args),
        Command::Explain(args) => explain::run(&paths, &args),
        Command::Rm(args) => gc::rm(&paths, &args),
        Command::Gc(args) => gc::gc(&paths, &config, &args),
        Command::Lint(args) => lint::run(&paths, &args),
        Command::Import(args) => import::run(&args),
        Command::Config(args) => Ok(config::run(&config, &args)),
        Command::Fetch(args) => fetch::run(&paths, &config, args),
        Command::Image(args) => image::run(&paths, &config, args),
        Command::Volume(args) => volume::run(&paths, args),
        Command::Trust(args) => trust::run(&paths, &config, args),
    }
}

/// Commands that a broken configuration must not stand in the way of.
fn matters_more(command: &Command) -> bool {
    use Command::{Kill, List, Status, Stop, Top, Wait};
    matches!(command, Stop(_) | Kill(_) | Wait(_) | List(_) | Status(_) | Top(_))
}

/// What keeps a pod from starting is in `systemctl status`, not only in the journal.
fn tell_unit(outcome: Result<ExitCode, Failure>) -> Result<ExitCode, Failure> {
    outcome.inspect_err(|failure| crate::systemd::notify::status(&format!("{:#}", failure.error)))
}
