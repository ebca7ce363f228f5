//! Lays files, environment and flags over each other. The only file that names figment.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use figment::{
    Figment, Metadata, Profile, Provider, Source,
    providers::{Format, Json, Toml},
    value::{Dict, Map, Tag, Value},
};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    environment::{self, Pair},
    file,
    finding::{Complaint, Finding, Severity},
    lines::Lines,
    places::Surroundings,
    sources::{Flag, Sources},
    syntax::SyntaxError,
    tree::{Node, Origin, Shape},
};

/// Key around everything, so that one look-up gives the whole tree.
const ROOT: &str = "root";

/// Names what set a value, beside files.
const FLAG: &str = "flag";
const VARIABLE: &str = "variable";

/// Merges all sources into one tree; `Err` when a file cannot be made sense of.
pub(super) fn merge(sources: &Sources) -> Result<(Node, Vec<Finding>), Vec<Finding>> {
    Ok(lay(&documents(sources)?, sources))
}

/// Merges as if a file of this name held these bytes; no file is read.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn merge_bytes(
    name: &Path,
    content: &[u8],
    sources: &Sources,
) -> Result<(Node, Vec<Finding>), Vec<Finding>> {
    let document = Document::of(name, file::text(content)).map_err(|finding| vec![finding])?;
    Ok(lay(&[document], sources))
}

fn lay(documents: &[Document], sources: &Sources) -> (Node, Vec<Finding>) {
    let (mut pairs, findings) = environment::pairs(&sources.environment, |section| {
        documents.iter().flat_map(|document| document.names(section)).collect()
    });
    pairs.extend(sources.flags.iter().map(pair_of));
    let figment = documents.iter().fold(Figment::new(), |figment, it| figment.merge(it));
    let figment = pairs.iter().fold(figment, |figment, pair| figment.merge(pair));
    // Nothing below ROOT means that no source sets any key.
    let value = figment.find_value(ROOT).unwrap_or_else(|_| Dict::new().into());
    let lines = documents.iter().map(|document| (&*document.path, &document.lines)).collect();
    (Planter { figment: &figment, lines }.node(value, &mut Vec::new()), findings)
}

/// Reads a list of plain values as TOML spells it; `None` for other text.
pub(super) fn array_literal(text: &str, origin: &Origin) -> Option<Vec<Node>> {
    let mut dict = <Toml as Format>::from_str::<Dict>(&format!("list = {text}")).ok()?;
    let Some(Value::Array(_, items)) = dict.remove("list").filter(|_| dict.is_empty()) else {
        return None;
    };
    let node = |item| Some(Node { shape: scalar(item)?, origin: origin.clone() });
    items.into_iter().map(node).collect()
}

/// Holds one file's content.
struct Document {
    path: Arc<Path>,
    values: Dict,
    lines: Lines,
}

impl Document {
    fn read(path: &Path, around: &Surroundings) -> Result<Self, Finding> {
        Self::of(path, file::read(path, around))
    }

    /// Makes sense of what stood in a file, or says what is wrong with that.
    fn of(path: &Path, text: Result<String, Complaint>) -> Result<Self, Finding> {
        let refuse = |complaint: Complaint, line| {
            let origin = Origin::File { path: path.into(), line };
            complaint.at(Severity::Error, None, origin)
        };
        let text = text.map_err(|complaint| refuse(complaint, None))?;
        let is_json = path.extension().is_some_and(|it| it.eq_ignore_ascii_case("json"));
        let (parsed, lines) = match is_json {
            true => (json(&text), Lines::default()),
            false => (toml(&text), Lines::of_toml(&text)),
        };
        let values = parsed.map_err(|error| refuse(error.complaint, Some(error.line)))?;
        Ok(Self { path: path.into(), values, lines })
    }

    fn names(&self, section: &str) -> Vec<String> {
        match self.values.get(section) {
            Some(Value::Dict(_, names)) => names.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

fn documents(sources: &Sources) -> Result<Vec<Document>, Vec<Finding>> {
    let read = |path: &Path| Document::read(path, &sources.surroundings);
    let (good, bad): (Vec<_>, Vec<_>) =
        sources.existing_files().into_iter().map(read).partition(Result::is_ok);
    match bad.is_empty() {
        true => Ok(good.into_iter().flatten().collect()),
        false => Err(bad.into_iter().filter_map(Result::err).collect()),
    }
}

fn toml(text: &str) -> Result<Dict, SyntaxError> {
    <Toml as Format>::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        SyntaxError::in_toml(text, at, error.message())
    })
}

fn json(text: &str) -> Result<Dict, SyntaxError> {
    match <Json as Format>::from_str(text) {
        Ok(Strict(Value::Dict(_, dict))) => Ok(dict),
        Ok(Strict(_)) => Err(SyntaxError::new(1, 1, "not an object in braces")),
        Err(error) => Err(SyntaxError::in_json(&error)),
    }
}

/// Reads JSON and refuses an object that has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Empty(Tag::Default, figment::value::Empty::Unit))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut dict = Dict::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, _>()? {
            if dict.insert(key, value).is_some() {
                return Err(A::Error::custom("duplicate key"));
            }
        }
        Ok(dict.into())
    }
}

impl Provider for Document {
    fn metadata(&self) -> Metadata {
        Metadata::from("file", Source::File(self.path.to_path_buf()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(below_root(self.values.clone().into()))
    }
}

impl Provider for Pair {
    fn metadata(&self) -> Metadata {
        let kind = if self.is_flag { FLAG } else { VARIABLE };
        Metadata::from(kind, Source::Custom(self.name.clone()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nest = |value, key: &String| Value::from(Dict::from([(key.clone(), value)]));
        Ok(below_root(self.path.iter().rev().fold(self.value.as_str().into(), nest)))
    }
}

fn below_root(value: Value) -> Map<Profile, Dict> {
    Map::from([(Profile::Default, Dict::from([(ROOT.to_owned(), value)]))])
}

fn pair_of(flag: &Flag) -> Pair {
    Pair {
        name: flag.name.clone(),
        is_flag: true,
        path: flag.key.split('.').map(str::to_owned).collect(),
        value: flag.value.clone(),
    }
}

/// Turns figment's values into ours, which know their origins.
struct Planter<'a> {
    figment: &'a Figment,
    lines: BTreeMap<&'a Path, &'a Lines>,
}

impl Planter<'_> {
    fn node(&self, value: Value, path: &mut Vec<String>) -> Node {
        let origin = self.origin(value.tag(), path);
        let shape = match value {
            Value::Dict(_, dict) => Shape::Table(self.table(dict, path)),
            Value::Array(_, items) => {
                Shape::List(items.into_iter().map(|item| self.node(item, path)).collect())
            }
            value => scalar(value).unwrap_or(Shape::Nothing),
        };
        Node { shape, origin }
    }

    fn table(&self, dict: Dict, path: &mut Vec<String>) -> BTreeMap<String, Node> {
        let plant = |(key, value): (String, Value)| {
            path.push(key.clone());
            let node = self.node(value, path);
            path.pop();
            (key, node)
        };
        dict.into_iter().map(plant).collect()
    }

    fn origin(&self, tag: Tag, path: &[String]) -> Origin {
        let metadata = self.figment.get_metadata(tag);
        match metadata.and_then(|it| Some((it.name.as_ref(), it.source.as_ref()?))) {
            Some((_, Source::File(file))) => {
                let line = self.lines.get(file.as_path()).and_then(|lines| lines.of(path));
                Origin::File { path: file.as_path().into(), line }
            }
            Some((FLAG, Source::Custom(name))) => Origin::Flag(name.clone()),
            Some((_, Source::Custom(name))) => Origin::Variable(name.clone()),
            _ => Origin::Default,
        }
    }
}

fn scalar(value: Value) -> Option<Shape> {
    match value {
        Value::String(_, text) => Some(Shape::Text(text)),
        Value::Char(_, char) => Some(Shape::Text(char.into())),
        Value::Bool(_, flag) => Some(Shape::Flag(flag)),
        Value::Num(_, number) => Some(match (number.to_i128(), number.to_u128()) {
            (Some(signed), _) => Shape::Whole(signed),
            (None, Some(unsigned)) => Shape::Whole(i128::try_from(unsigned).unwrap_or(i128::MAX)),
            (None, None) => Shape::Real(number.to_f64().unwrap_or(f64::NAN)),
        }),
        Value::Empty(..) => Some(Shape::Nothing),
        Value::Dict(..) | Value::Array(..) => None,
    }
}
