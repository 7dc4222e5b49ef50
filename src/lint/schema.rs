//! The JSON schemas of pod files, made from the grammar's own table of keys: for editors, and for
//! whoever checks pod files without rocket.
//!
//! Draft 07, which is what editors speak for TOML. A schema lets everything through that rocket
//! takes, and finds what can be found without the rest of the file and without the host: keys,
//! types, words, forms and bounds. `rocket lint` finds all.

use rocket_podfile::{Form, Key, Refuse, Rule, Table, Takes};
use serde_json::{Map, Value, json};

/// What a schema is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Pod files, NAME.toml
    Pod,
    /// Templates, NAME@.toml
    Template,
    /// Drop-ins of both, NAME.toml.d/*.toml
    DropIn,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Pod, Self::Template, Self::DropIn];

    /// The name of its file, in `docs` and where rocket is installed.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Pod => "pod-file.schema.json",
            Self::Template => "pod-file-template.schema.json",
            Self::DropIn => "pod-file-drop-in.schema.json",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Pod => "rocket pod file",
            Self::Template => "rocket pod file, template of several pods",
            Self::DropIn => "rocket pod file, drop-in",
        }
    }
}

/// The schema, as it is in the file.
pub fn text(kind: Kind) -> String {
    let mut text = serde_json::to_string_pretty(&schema(kind)).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema.
pub fn schema(kind: Kind) -> Value {
    let writer = Writer { kind };
    let mut top = writer.table(rocket_podfile::pod_file(), "");
    let head = [
        ("$schema", "http://json-schema.org/draft-07/schema#".to_owned()),
        // A name that never changes for this version of the grammar, and that nobody has to fetch.
        (
            "$id",
            format!("urn:rocket:schema:1:{}", kind.file_name().trim_end_matches(".schema.json")),
        ),
        ("title", kind.title().to_owned()),
        (
            "description",
            format!("Version 1 of the grammar, as rocket {} reads it.", env!("CARGO_PKG_VERSION")),
        ),
    ];
    for (key, value) in head {
        top.insert(key.to_owned(), Value::String(value));
    }
    if kind == Kind::DropIn {
        let about = "Keys that are cleared before the drop-in's own are laid over: \
                     [\"app.web.exec\", \"description\"].";
        let unset = json!({ "description": about, "type": "array", "items": { "type": "string" } });
        if let Some(Value::Object(keys)) = top.get_mut("properties") {
            keys.insert("unset".to_owned(), unset);
        }
    }
    Value::Object(top)
}

type Object = Map<String, Value>;

struct Writer {
    kind: Kind,
}

impl Writer {
    /// A table; `path` is that of the table, with `*` for names.
    fn table(&self, table: &Table, path: &str) -> Object {
        let properties: Object =
            table.keys.iter().map(|key| (key.name.to_owned(), self.key(key, path))).collect();
        let mut object = Object::new();
        object.insert("type".to_owned(), json!("object"));
        object.insert("properties".to_owned(), Value::Object(properties));
        object.insert("additionalProperties".to_owned(), json!(false));
        // A drop-in has what it changes; what belongs to it is elsewhere.
        if self.kind == Kind::DropIn {
            return object;
        }
        let required: Vec<&str> =
            table.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
        if !required.is_empty() {
            object.insert("required".to_owned(), json!(required));
        }
        let rules: Vec<Value> = table.rules.iter().flat_map(|r| rule(r, self.kind)).collect();
        if !rules.is_empty() {
            object.insert("allOf".to_owned(), Value::Array(rules));
        }
        object
    }

    fn key(&self, key: &Key, above: &str) -> Value {
        let path =
            if above.is_empty() { key.name.to_owned() } else { format!("{above}.{}", key.name) };
        let refused = rocket_podfile::refused().iter().find(|(of, _)| *of == path).map(|(_, r)| r);
        let mut about = key.about.to_owned();
        let mut value = self.takes(&key.takes, &path);
        if path == "app" && self.kind != Kind::DropIn {
            value.insert("minProperties".to_owned(), json!(1));
        }
        if let Some(refuse) = refused {
            self.narrow(&mut value, refuse, &mut about);
        }
        let mut object = Object::new();
        object.insert("description".to_owned(), Value::String(about));
        if let Some(default) = key.default.and_then(|text| serde_json::from_str(text).ok()) {
            object.insert("default".to_owned(), default);
        }
        object.extend(value);
        Value::Object(object)
    }

    fn takes(&self, takes: &Takes, path: &str) -> Object {
        let value = match takes {
            Takes::Boolean => json!({ "type": "boolean" }),
            Takes::Number(min, max) => number(*min, *max),
            Takes::Words(words) => self.string(json!({ "enum": words })),
            Takes::Text(form) => self.text(*form),
            Takes::Scalar(form, min, max) => {
                json!({ "anyOf": [self.text(*form), number(*min, *max)] })
            }
            Takes::List(form) => {
                json!({ "type": "array", "items": self.text(*form), "uniqueItems": true })
            }
            Takes::Scalars(form, min, max) => {
                let each = json!({ "anyOf": [self.text(*form), number(*min, *max)] });
                json!({ "type": "array", "items": each, "uniqueItems": true })
            }
            Takes::Command(empty) => {
                let mut program = Map::from_iter([("minLength".to_owned(), json!(1))]);
                program.extend(pattern(Form::Any));
                let mut list = json!({
                    "type": "array",
                    "items": [program],
                    "additionalItems": self.text(Form::Any),
                });
                if let (false, Value::Object(list)) = (empty, &mut list) {
                    list.insert("minItems".to_owned(), json!(1));
                }
                list
            }
            Takes::Table(table) => Value::Object(self.table(table, path)),
            Takes::Tables(table) => json!({
                "type": "object",
                "propertyNames": pattern(Form::Name),
                "additionalProperties": self.table(table, &format!("{path}.*")),
            }),
            Takes::Map(form, value) => json!({
                "type": "object",
                "propertyNames": pattern(*form),
                "additionalProperties": self.takes(value, &format!("{path}.*")),
            }),
            Takes::Either(all) => {
                let all: Vec<Object> = all.iter().map(|takes| self.takes(takes, path)).collect();
                json!({ "anyOf": all })
            }
        };
        match value {
            Value::Object(object) => object,
            _ => Object::new(),
        }
    }

    /// Takes from a value what this release refuses of it.
    fn narrow(&self, value: &mut Object, refuse: &Refuse, about: &mut String) {
        let later = "not supported by this release";
        match refuse {
            Refuse::Key => {
                about.push_str(&format!(" ({later})"));
                *value = Map::from_iter([("not".to_owned(), json!({}))]);
            }
            Refuse::Values(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                about.push_str(&format!(" ({later}: {})", words.join(", ")));
                if let Some(Value::Array(all)) = value.get_mut("enum") {
                    all.retain(|word| !words.contains(&word.to_string()));
                } else {
                    value.insert("not".to_owned(), json!({ "enum": unquoted(&words) }));
                }
            }
            Refuse::AllBut(words) => {
                about.push_str(&format!(" ({later}: others)"));
                if let Value::Object(only) = self.string(json!({ "enum": words })) {
                    *value = only;
                }
            }
            Refuse::When(refused) => {
                about.push_str(&format!(" ({later}: {refused})"));
                *value = Map::from_iter([("const".to_owned(), json!(!refused))]);
            }
        }
    }

    fn text(&self, form: Form) -> Value {
        self.string(Value::Object(pattern(form)))
    }

    /// In a template a string may be anything that its instance makes of it.
    fn string(&self, plain: Value) -> Value {
        if self.kind == Kind::Pod {
            return plain;
        }
        json!({ "anyOf": [plain, { "type": "string", "pattern": "%[i%]" }] })
    }
}

fn pattern(form: Form) -> Object {
    let mut object = Object::new();
    object.insert("type".to_owned(), json!("string"));
    object.insert("pattern".to_owned(), json!(form.pattern()));
    if let Some(longest) = form.longest() {
        object.insert("maxLength".to_owned(), json!(longest));
    }
    if let Some(not) = form.but_not() {
        object.insert("not".to_owned(), json!({ "pattern": not }));
    }
    object
}

fn number(min: i64, max: i64) -> Value {
    let mut object = Map::from_iter([("type".to_owned(), json!("integer"))]);
    for (key, bound, none) in [("minimum", min, i64::MIN), ("maximum", max, i64::MAX)] {
        if bound != none {
            object.insert(key.to_owned(), json!(bound));
        }
    }
    Value::Object(object)
}

fn unquoted(words: &[String]) -> Vec<Value> {
    words.iter().filter_map(|word| serde_json::from_str(word).ok()).collect()
}

/// The schemas that a rule of a table comes to.
fn rule(rule: &Rule, kind: Kind) -> Vec<Value> {
    let values = |all: &[&str]| {
        let all: Vec<Value> =
            all.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        match kind {
            Kind::Pod => json!({ "enum": all }),
            // What a template's instance makes of it, nobody knows.
            _ => json!({ "anyOf": [{ "enum": all }, { "type": "string", "pattern": "%" }] }),
        }
    };
    let one = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let there = |key: &&str| json!({ "required": [key] });
    let filled = |key: &str| json!({ "required": [key], "properties": { key: { "minItems": 1 } } });
    match rule {
        Rule::One(keys) => vec![json!({ "oneOf": keys.iter().map(there).collect::<Vec<_>>() })],
        Rule::Some(keys) => vec![json!({ "anyOf": keys.iter().map(there).collect::<Vec<_>>() })],
        Rule::Only(keys, other, allowed) => keys
            .iter()
            .map(|key| {
                let then =
                    json!({ "required": [other], "properties": { *other: values(allowed) } });
                json!({ "if": there(key), "then": then })
            })
            .collect(),
        Rule::Needs(key, value, other) => {
            let is = json!({ "required": [key], "properties": { *key: { "const": one(value) } } });
            vec![json!({ "if": is, "then": there(other) })]
        }
        Rule::Beside(key, other) => vec![json!({ "if": there(key), "then": filled(other) })],
        Rule::NotBeside(key, other) => {
            vec![json!({ "not": { "allOf": [there(key), filled(other)] } })]
        }
        Rule::Not([(key, value), (other, second)]) => {
            let both = json!({
                "required": [key, other],
                "properties": { *key: { "const": one(value) }, *other: { "const": one(second) } },
            });
            vec![json!({ "not": both })]
        }
    }
}
