//! `rocket config`: what is configured, and where it was said.

use crate::cli::output::{self, Format};
use crate::config::layers::Config;
use serde_json::json;
use std::process::ExitCode;

/// Arguments of `rocket config`.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `rocket config`.
pub fn run(config: &Config, args: &ConfigArgs) -> ExitCode {
    let entries = config.entries();
    match args.format {
        Format::Json => {
            let list = entries.iter().map(|(key, value, source)| {
                json!({ "key": key, "value": value, "source": source.map(|path| path.display().to_string()) })
            });
            output::json(&serde_json::Value::Array(list.collect()));
        }
        Format::Table => {
            let rows: Vec<Vec<String>> = entries
                .into_iter()
                .map(|(key, value, source)| {
                    let source = source
                        .map_or_else(|| "built in".to_owned(), |path| path.display().to_string());
                    vec![key.to_owned(), value, source]
                })
                .collect();
            output::table(&["KEY", "VALUE", "SOURCE"], &rows);
        }
    }
    ExitCode::SUCCESS
}
