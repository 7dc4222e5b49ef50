//! How exposed an app leaves the host: one figure on the scale and in the words of
//! `systemd-analyze security`, with the reasons. `docs/explain.md` says how the weights came about.

use serde::{Serialize, Serializer};

/// A figure from 0 to 10, in tenths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exposure(u32);

impl Exposure {
    /// So many tenths, 100 at most.
    pub fn from_tenths(tenths: u32) -> Self {
        Self(tenths.min(100))
    }

    /// In tenths.
    pub fn tenths(self) -> u32 {
        self.0
    }

    /// The word for it, as systemd 252 uses them.
    pub fn word(self) -> &'static str {
        match self.0 {
            0 => "PERFECT",
            1..=9 => "SAFE",
            10..=49 => "OK",
            50..=74 => "MEDIUM",
            75..=89 => "EXPOSED",
            90..=99 => "UNSAFE",
            _ => "DANGEROUS",
        }
    }
}

impl std::fmt::Display for Exposure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

impl Serialize for Exposure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 10.0)
    }
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    /// Its name.
    pub name: &'static str,
    /// The directive that `systemd-analyze security` asks the same of, if there is one.
    pub systemd: Option<&'static str>,
    /// The answer in words.
    pub description: String,
    /// How much it counts.
    pub weight: u32,
    /// How bad the answer is, of `range`.
    pub badness: u32,
    /// The worst answer.
    pub range: u32,
    /// What it adds to the figure.
    pub cost: f64,
}

/// The figure of an app.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppScore {
    /// From 0 to 10; less is safer.
    pub exposure: Exposure,
    /// The word for it.
    pub word: &'static str,
    /// The reasons, the costliest first.
    pub lines: Vec<Line>,
}

/// The figure of a pod: that of its most exposed app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Score {
    /// From 0 to 10; less is safer.
    pub exposure: Exposure,
    /// The word for it.
    pub word: &'static str,
    /// The app.
    pub app: String,
}

/// What a question came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) name: &'static str,
    pub(super) systemd: Option<&'static str>,
    pub(super) description: String,
    pub(super) weight: u32,
    pub(super) badness: u32,
    pub(super) range: u32,
}

/// systemd's arithmetic: the mean of the answers by weight, every step rounded up.
pub(super) fn sum(answers: Vec<Answered>) -> AppScore {
    let total: u64 = answers.iter().map(|answer| u64::from(answer.weight)).sum();
    let bad = |answer: &Answered| {
        let range = u64::from(answer.range.max(1));
        (u64::from(answer.badness) * u64::from(answer.weight)).div_ceil(range)
    };
    let all: u64 = answers.iter().map(bad).sum();
    let exposure = if total == 0 { 0 } else { (all * 100).div_ceil(total) };
    let exposure = Exposure::from_tenths(u32::try_from(exposure).unwrap_or(100));
    let mut lines: Vec<Line> = answers
        .into_iter()
        .map(|answer| Line {
            cost: cost(bad(&answer), total),
            name: answer.name,
            systemd: answer.systemd,
            description: answer.description,
            weight: answer.weight,
            badness: answer.badness,
            range: answer.range,
        })
        .collect();
    lines.sort_by(|a, b| b.cost.total_cmp(&a.cost));
    AppScore { exposure, word: exposure.word(), lines }
}

/// In hundredths.
fn cost(bad: u64, total: u64) -> f64 {
    let hundredths = (bad * 1000 + total / 2).checked_div(total).unwrap_or(0);
    f64::from(u32::try_from(hundredths).unwrap_or(u32::MAX)) / 100.0
}

/// The most exposed app; the first of several.
pub(super) fn worst<'a>(apps: impl Iterator<Item = (&'a str, &'a AppScore)>) -> Score {
    let mut worst = Score { word: Exposure::default().word(), ..Score::default() };
    for (name, score) in apps {
        if worst.app.is_empty() || score.exposure > worst.exposure {
            worst = Score { exposure: score.exposure, word: score.word, app: name.to_owned() };
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(weight: u32, badness: u32, range: u32) -> Answered {
        Answered { name: "x", systemd: None, description: String::new(), weight, badness, range }
    }

    #[test]
    fn the_arithmetic_is_systemds() {
        let score = sum(vec![answer(1000, 1, 1), answer(2000, 0, 10), answer(500, 3, 10)]);
        // (1000 + 0 + 150) * 100 / 3500 = 32.9, rounded up.
        assert_eq!((score.exposure.tenths(), score.word), (33, "OK"));
        let costs: Vec<f64> = score.lines.iter().map(|line| line.cost).collect();
        assert_eq!(costs, [2.86, 0.43, 0.0]);
        assert_eq!(sum(vec![]).exposure.tenths(), 0);
        assert_eq!(sum(vec![answer(5, 10, 10)]).word, "DANGEROUS");
    }

    #[test]
    fn words_begin_where_systemds_do() {
        let words: Vec<&str> = [0, 1, 9, 10, 49, 50, 74, 75, 89, 90, 99, 100]
            .map(|tenths| Exposure::from_tenths(tenths).word())
            .to_vec();
        let expected = [
            "PERFECT",
            "SAFE",
            "SAFE",
            "OK",
            "OK",
            "MEDIUM",
            "MEDIUM",
            "EXPOSED",
            "EXPOSED",
            "UNSAFE",
            "UNSAFE",
            "DANGEROUS",
        ];
        assert_eq!(words, expected);
    }
}
