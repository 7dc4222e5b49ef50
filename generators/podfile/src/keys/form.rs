//! The forms that strings have, as patterns of a JSON schema (ECMA 262, of which only what every
//! regular-expression engine knows is used). They are made from the readers' own tables of words.
//!
//! A pattern lets everything through that its reader takes. What it cannot count (a sum that is too
//! large, a soft limit above the hard one) the reader alone refuses.

use crate::read::SYSCTLS;
use crate::values::name::UNIT_KINDS;
use crate::values::{CALENDAR_DAYS, CALENDAR_WORDS, Capability, signal_names, time_units};

/// A form of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text without NUL.
    Any,
    /// Any text without NUL, of one character at least.
    Filled,
    /// Any text without control characters.
    Line,
    /// The name of an app, a volume, a port.
    Name,
    /// What a person reads of the pod.
    Description,
    /// An absolute path without `..`.
    Path,
    /// A path where a volume can be.
    MountTarget,
    /// A path below `/dev`.
    Device,
    /// A path without blanks.
    DevicePath,
    /// A reference to an image.
    Image,
    /// A user or a group.
    Account,
    /// The name of a variable.
    Variable,
    /// A time that ends.
    Time,
    /// A time, or `infinity`.
    EndlessTime,
    /// `COUNT/TIME`.
    RestartLimit,
    /// A signal.
    Signal,
    /// `any-failure`, `all-done`, `app:NAME`.
    ExitPolicy,
    /// A host name.
    Hostname,
    /// A domain.
    Domain,
    /// An IP address.
    Address,
    /// An option of resolv.conf(5).
    DnsOption,
    /// Bytes.
    Size,
    /// A size, a share, or `infinity`.
    Memory,
    /// A percentage of a CPU.
    Quota,
    /// 1 to 10000.
    Weight,
    /// 1 to 10000, or `idle`.
    CpuWeight,
    /// A number, a share, or `infinity`.
    Tasks,
    /// Numbers and ranges of CPUs.
    Cpus,
    /// Bytes or operations per second.
    Rate,
    /// A capability that an app may have.
    Capability,
    /// A resource limit in bytes.
    RlimitBytes,
    /// A resource limit that is a number.
    RlimitCount,
    /// -1000 to 1000.
    OomScore,
    /// The name of an AppArmor profile.
    Profile,
    /// An SELinux context.
    Context,
    /// A path of a URL.
    UrlPath,
    /// An octal mode.
    Mode,
    /// A sysctl of the pod's own.
    Sysctl,
    /// What a sysctl is set to.
    SysctlValue,
    /// Where systemd listens.
    Listen,
    /// A unit, or a pod.
    Unit,
    /// A slice.
    Slice,
    /// A calendar event.
    Calendar,
    /// A path, or a name in systemd's stores of credentials.
    CredentialSource,
}

const NAME: &str = "[a-z0-9]+(-[a-z0-9]+)*";
const NUMBER: &str = r"[0-9]+(\.[0-9]+)?";
const SHARE: &str = r"0*(100(\.0{1,2})?|[0-9]{1,2}(\.[0-9]{1,2})?)%";
const WEIGHT: &str = r"\+?0*([1-9][0-9]{0,3}|10000)";
const LABEL: &str = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
/// Neither a control character nor, with the second, a blank.
const LINE: &str = r"[^\x00-\x1f\x7f-\x9f]";
const DARK: &str = r"[^\s\x00-\x1f\x7f-\x9f]";
const V4: &str = r"OCTET(\.OCTET){3}";
const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const PORT: &str =
    "0*(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})";

impl Form {
    /// The pattern of the whole string.
    pub fn pattern(self) -> String {
        let body = match self {
            Self::Any => r"[^\x00]*".to_owned(),
            Self::Filled => r"[^\x00]+".to_owned(),
            Self::Line | Self::Description => format!("{LINE}*"),
            Self::Name => NAME.to_owned(),
            Self::Path | Self::MountTarget => path(""),
            Self::Device => format!(r"/+(\./+)*dev/+({0}/+)*{0}/*", part("")),
            Self::DevicePath => path(r"\s"),
            Self::Image | Self::Profile => format!("{DARK}+"),
            Self::Account => {
                let odd = r"\s:/,\x00-\x1f\x7f-\x9f";
                format!("[^{odd}-][^{odd}]*|{}", path(""))
            }
            Self::Variable => r"[^=\x00-\x1f\x7f-\x9f]+".to_owned(),
            Self::Time => time(),
            Self::EndlessTime => format!(r"\s*infinity\s*|{}", time()),
            Self::RestartLimit => format!(r"\s*\+?0*[1-9][0-9]*\s*/({})", time()),
            Self::Signal => signal(),
            Self::ExitPolicy => format!("any-failure|all-done|app:{NAME}"),
            Self::Hostname => format!(r"{LABEL}(\.{LABEL})*"),
            Self::Domain => {
                let label = "[A-Za-z0-9_-]*[A-Za-z0-9][A-Za-z0-9_-]*";
                format!(r"{label}(\.{label})*\.?")
            }
            Self::Address => format!("{}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*", v4()),
            Self::DnsOption => "[A-Za-z0-9_:.-]+".to_owned(),
            Self::Size => size(),
            Self::Memory => format!(r"\s*(infinity|{SHARE})\s*|{}", size()),
            Self::Quota => {
                let above = r"[1-9][0-9]{0,5}(\.[0-9]{1,2})?|1000000(\.0{1,2})?";
                format!(r"\s*0*({above}|0\.[1-9][0-9]?)%\s*")
            }
            Self::Weight => format!(r"\s*{WEIGHT}\s*"),
            Self::CpuWeight => format!(r"\s*(idle|{WEIGHT})\s*"),
            Self::Tasks => format!(r"\s*(infinity|{SHARE}|\+?0*[1-9][0-9]*)\s*"),
            Self::Cpus => {
                let cpu = "0*(819[01]|81[0-8][0-9]|80[0-9]{2}|[1-7][0-9]{3}|[0-9]{1,3})";
                let one = format!("{cpu}(-{cpu})?");
                format!("[, ]*{one}([, ]+{one})*[, ]*")
            }
            Self::Rate => {
                let whole = r"[0-9]*[1-9][0-9]*(\.[0-9]+)?\s*[BKMGTPE]?";
                let part = r"0+\.[0-9]*[1-9][0-9]*\s*[KMGTPE]";
                format!(r"\s*({whole}|{part})\s*")
            }
            Self::Capability => capability(),
            Self::RlimitBytes => {
                let one = format!("(infinity|{})", size());
                format!("{one}(:{one})?")
            }
            Self::RlimitCount => r"(infinity|\+?[0-9]+)(:(infinity|\+?[0-9]+))?".to_owned(),
            Self::OomScore => "[+-]?0*(1000|[0-9]{1,3})".to_owned(),
            Self::Context => {
                let part = r"[^\s:\x00-\x1f\x7f-\x9f]+";
                format!("{part}:{part}:{part}(:{DARK}+)?")
            }
            Self::UrlPath => format!("/{DARK}*"),
            Self::Mode => "0?[0-7]{3,4}".to_owned(),
            Self::Sysctl => sysctl(),
            Self::SysctlValue => format!("{LINE}+"),
            Self::Listen => {
                let inet = format!(r"{}:{PORT}|\[[0-9a-fA-F:.]+(%0)?\]:{PORT}", v4());
                format!(r"/{DARK}{{0,106}}|@{DARK}{{1,106}}|\+?{PORT}|{inet}")
            }
            Self::Unit => unit(),
            Self::Slice => {
                let part = r"[A-Za-z0-9:_.\\]+";
                format!(r"(-|{part}(-{part})*)\.slice")
            }
            Self::Calendar => calendar(),
            Self::CredentialSource => {
                let name = "[!-.0-9;-~]";
                let plain = "[!--0-9;-~]";
                format!(r"{}|\.?{plain}{name}{{0,253}}|\.\.{name}{{1,253}}", path(""))
            }
        };
        format!("^({body})$")
    }

    /// The pattern of what is not meant, of all that has the pattern of the form.
    pub fn but_not(self) -> Option<String> {
        match self {
            // These places are rocket's own.
            Self::MountTarget => {
                Some(r"^(/+\.)*(/*|/+dev(/+\.)*/*|/+(proc|sys)(/.*)?)$".to_owned())
            }
            // A directory, or a way up.
            Self::Listen => Some(r"^/(.*/)?(\.\.(/.*)?|\.?)$".to_owned()),
            _ => None,
        }
    }

    /// The most characters.
    pub fn longest(self) -> Option<u32> {
        match self {
            Self::Name => Some(63),
            Self::Description => Some(512),
            Self::Path | Self::MountTarget | Self::Device | Self::DevicePath => Some(4095),
            Self::Hostname => Some(64),
            Self::Domain => Some(254),
            Self::DnsOption => Some(64),
            Self::Profile | Self::Context | Self::Unit | Self::Slice => Some(255),
            Self::SysctlValue => Some(1024),
            _ => None,
        }
    }
}

fn time() -> String {
    let mut units = time_units();
    // An engine that takes the first that fits has to see the longest first.
    units.sort_by_key(|unit| std::cmp::Reverse(unit.len()));
    let units = units.join("|");
    let one = format!(r"(\+?{NUMBER}|\.[0-9]+)");
    format!(r"\s*({one}\s*({units})\s*|{one}\s+)*{one}(\s*({units}))?\s*")
}

fn size() -> String {
    format!(r"\s*{NUMBER}\s*[BKMGTPE]?\s*")
}

fn signal() -> String {
    let names = signal_names().join("|");
    let number = "0*([1-9]|[12][0-9]|3[014-9]|[45][0-9]|6[0-4])";
    let offset = r"\+?0*([0-9]|[12][0-9]|30)";
    format!(r"(SIG)?({names}|RTMIN(\+{offset})?|RTMAX(-{offset})?)|\+?{number}")
}

fn capability() -> String {
    let names = Capability::ALL.map(|capability| capability.to_string());
    let kernel = Capability::ALL.map(|c| {
        let name = c.kernel_name();
        let letters = name.chars().map(|letter| match letter {
            '_' => "[_-]".to_owned(),
            letter => format!("[{letter}{}]", letter.to_ascii_uppercase()),
        });
        letters.collect::<String>()
    });
    format!("{}|CAP_({})", names.join("|"), kernel.join("|"))
}

/// A part of a path that is not `..`; `odd` is what it has not besides.
fn part(odd: &str) -> String {
    let not = format!(r"\x00-\x1f\x7f-\x9f{odd}");
    format!(r"([^/.{not}][^/{not}]*|\.[^/.{not}][^/{not}]*|\.\.[^/{not}]+|\.)")
}

fn path(odd: &str) -> String {
    format!("/+({0}/+)*{0}?", part(odd))
}

fn v4() -> String {
    V4.replace("OCTET", OCTET)
}

fn sysctl() -> String {
    let part = "[A-Za-z0-9_-]+";
    let own: Vec<String> = SYSCTLS.iter().map(|name| name.replace('.', r"\.")).collect();
    format!(r"{}|(fs\.mqueue|net)(\.{part})+", own.join("|"))
}

fn unit() -> String {
    let kinds = UNIT_KINDS.join("|");
    let any = r"[A-Za-z0-9:_.\\@-]*";
    format!(r"pod:{NAME}(@{NAME})?|[A-Za-z0-9:_.\\-]({any}[A-Za-z0-9:_.\\-])?\.({kinds})")
}

fn calendar() -> String {
    let either_case = |words: &[&str]| {
        let each = words.iter().map(|word| {
            let letters = word.chars().map(|c| format!("[{c}{}]", c.to_ascii_uppercase()));
            letters.collect::<String>()
        });
        each.collect::<Vec<_>>().join("|")
    };
    let (words, days) = (either_case(&CALENDAR_WORDS), either_case(&CALENDAR_DAYS));
    let day = format!(r"({days})(\.\.({days}))?");
    let numbers = |one: &str| {
        let part = format!(r"(\*|{one}(\.\.{one})?)(/\+?0*[1-9][0-9]*)?");
        format!("{part}(,{part})*")
    };
    let year = numbers("(19[7-9][0-9]|2[01][0-9]{2}|0{0,2}[0-9]{1,2})");
    let month = numbers("0{0,2}(0?[1-9]|1[0-2])");
    let day_of_month = numbers("0{0,2}(0?[1-9]|[12][0-9]|3[01])");
    let date = format!("@[0-9]+|({year}-)?{month}[-~]{day_of_month}");
    let (hour, minute) = (numbers("0{0,2}([01]?[0-9]|2[0-3])"), numbers("0{0,2}[0-5]?[0-9]"));
    let time = format!("{hour}:{minute}(:[0-9./*,+]+)?");
    let zone = "UTC|[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z][A-Za-z0-9_+-]*)+";
    let parts = [format!("{day}(,{day})*,?"), date, time, zone.to_owned()];
    // Each part once, in this order, and not none of them.
    let mut forms = vec![format!(r"({words})(\s+({zone}))?")];
    for first in 0..parts.len() - 1 {
        let mut form = format!("({})", parts[first]);
        for later in &parts[first + 1..] {
            form.push_str(&format!(r"(\s+({later}))?"));
        }
        forms.push(form);
    }
    format!(r"\s*({})\s*", forms.join("|"))
}
