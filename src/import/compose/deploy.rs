//! How a service is watched, limited and deployed.

use crate::import::ImportError;
use crate::import::container::Container;
use crate::import::scalar::go_time;
use crate::import::yaml::{Node, Yaml};

pub(super) fn healthcheck(app: &mut Container<'_>, value: &Yaml) -> Result<(), ImportError> {
    for (key, value) in value.map("healthcheck")? {
        let name = format!("healthcheck.{}", key.text);
        match key.text.as_str() {
            "test" => match &value.node {
                Node::List(list) => {
                    let words: Vec<String> =
                        value.texts("test")?.into_iter().map(|(_, w)| w.to_owned()).collect();
                    let rest = || words.iter().skip(1).cloned();
                    match (words.first().map(String::as_str), list.len()) {
                        (Some("NONE"), _) => app.no_probe(),
                        (Some("CMD"), 2..) => {
                            app.probe("command", rest().collect::<Vec<_>>(), &key.place)
                        }
                        (Some("CMD-SHELL"), 2..) => {
                            let words: Vec<String> = ["/bin/sh".to_owned(), "-c".to_owned()]
                                .into_iter()
                                .chain(rest())
                                .collect();
                            app.probe("command", words, &key.place);
                        }
                        _ => {
                            app.lose(&key.place, &name, "it begins with NONE, CMD or CMD-SHELL", "")
                        }
                    }
                }
                _ => {
                    let text = value.text("test")?;
                    let words = vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
                    app.probe("command", words, &key.place);
                }
            },
            "interval" | "timeout" => match go_time(value.text(&name)?) {
                Some(time) => app.probe_with(&key.text, time, &key.place),
                None => app.lose(&key.place, &name, "the time is not understood", ""),
            },
            "retries" => app.option("health-retries", value.text(&name)?, &name, &key.place)?,
            "disable" if value.text(&name)? == "true" => app.no_probe(),
            "disable" => {}
            "start_period" => app.option("health-start-period", "", &name, &key.place)?,
            "start_interval" => app.option("health-start-interval", "", &name, &key.place)?,
            _ => app.lose(&key.place, &name, "unknown key", ""),
        }
    }
    Ok(())
}

pub(super) fn blkio(app: &mut Container<'_>, value: &Yaml) -> Result<(), ImportError> {
    for (key, value) in value.map("blkio_config")? {
        let name = format!("blkio_config.{}", key.text);
        match key.text.as_str() {
            "weight" => app.option("blkio-weight", value.text(&name)?, &name, &key.place)?,
            "device_read_bps" | "device_write_bps" | "device_read_iops" | "device_write_iops" => {
                for item in value.list(&name)? {
                    for other in item.others(&["path", "rate"]) {
                        app.lose(
                            &other.place,
                            &format!("{name}.{}", other.text),
                            "unknown key",
                            "",
                        );
                    }
                    let part = |part| item.get_text(part).unwrap_or_default();
                    let text = format!("{}:{}", part("path"), part("rate"));
                    app.option(&key.text.replace('_', "-"), &text, &name, &item.place)?;
                }
            }
            "weight_device" => app.option("blkio-weight-device", "", &name, &key.place)?,
            _ => app.lose(&key.place, &name, "unknown key", ""),
        }
    }
    Ok(())
}

pub(super) fn replicas(
    app: &mut Container<'_>,
    value: &Yaml,
    key: &str,
) -> Result<(), ImportError> {
    if value.text(key)? != "1" {
        let todo = "a template, NAME@.toml, has as many instances as are enabled";
        app.lose(&value.place, key, "a pod has each app once", todo);
    }
    Ok(())
}

pub(super) fn deploy(app: &mut Container<'_>, value: &Yaml) -> Result<(), ImportError> {
    for (key, value) in value.map("deploy")? {
        let name = format!("deploy.{}", key.text);
        match key.text.as_str() {
            "replicas" => replicas(app, value, &name)?,
            "resources" => {
                for (side, value) in value.map(&name)? {
                    for (resource, value) in value.map(&name)? {
                        let name = format!("{name}.{}.{}", side.text, resource.text);
                        let place = &resource.place;
                        match (side.text.as_str(), resource.text.as_str()) {
                            ("limits", "cpus") => {
                                app.option("cpus", value.text(&name)?, &name, place)?
                            }
                            ("limits", "memory") => {
                                app.option("memory", value.text(&name)?, &name, place)?
                            }
                            ("limits", "pids") => {
                                app.option("pids-limit", value.text(&name)?, &name, place)?
                            }
                            ("reservations", "memory") => {
                                app.option("memory-reservation", value.text(&name)?, &name, place)?;
                            }
                            ("reservations", "devices") => app.option("gpus", "", &name, place)?,
                            ("reservations", "cpus") => {
                                app.lose(
                                    place,
                                    &name,
                                    "a share of processors is a weight",
                                    "limits.cpu-weight",
                                );
                            }
                            _ => app.lose(place, &name, "unknown key", ""),
                        }
                    }
                }
            }
            "restart_policy" => {
                for (key, value) in value.map(&name)? {
                    let name = format!("{name}.{}", key.text);
                    let text = value.text(&name)?;
                    match (key.text.as_str(), text) {
                        ("condition", "none") => app.restart("no", &key.place),
                        ("condition", "on-failure") => app.restart("on-failure", &key.place),
                        ("condition", _) => app.restart("always", &key.place),
                        ("delay", text) => match go_time(text) {
                            Some(time) => app.set("restart-delay", time, &key.place),
                            None => app.lose(&key.place, &name, "the time is not understood", ""),
                        },
                        ("max_attempts", text) if text.parse::<u32>().is_ok_and(|n| n > 0) => {
                            app.set("restart-limit", format!("{text}/1d"), &key.place);
                        }
                        _ => app.lose(&key.place, &name, "it has no counterpart", "restart-limit"),
                    }
                }
            }
            "labels" => app.option("label", "", &name, &key.place)?,
            "mode" | "endpoint_mode" | "placement" | "update_config" | "rollback_config" => {
                app.lose(&key.place, &name, "that is for a swarm", "");
            }
            _ => app.lose(&key.place, &name, "unknown key", ""),
        }
    }
    Ok(())
}
