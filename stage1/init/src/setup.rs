//! Executes the operations of `ops`, in order.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rocket_plan::{AppPlan, IdMap, Isolators, MountSource, PodPlan, descriptor};
use rocket_sys::mount::{self, Attributes};
use rocket_sys::root::Root;
use rustix::fs::{CWD, Mode, OFlags};

use crate::cgroup::Tree;
use crate::descriptors::Descriptors;
use crate::failure::{Context, Failure, Result, c_string};
use crate::ops::{At, Op, Shared, What};
use crate::targets::{self, Own};
use crate::tether::Tether;
use crate::userns::{self, OomScore};
use crate::{credentials, dev, devices, entry, limits, rootfs, sysctls};

const MODE: Mode = Mode::from_raw_mode(0o755);
const PLAIN: Attributes = Attributes { read_only: false, nosuid: true, nodev: true, noexec: true };

/// What setup leaves behind for the rest of init's life, and its own scaffolding.
#[derive(Debug)]
pub struct Setup {
    /// The pod's procfs, not attached anywhere.
    pub proc: OwnedFd,
    /// `/dev/null` of the host.
    null: OwnedFd,
    /// The same through a read-only mount: the standard input of apps, which must not change its mode.
    pub input: OwnedFd,
    /// The pod's cgroup, if it has one.
    pub cgroup: Option<Tree>,
    /// What became of the limits of each app with a leaf.
    limits: Vec<(String, Isolators)>,
    /// The id map of the pod's user namespace, if it has one.
    pub map: Option<IdMap>,
    /// init's OOM score, where apps cannot set their own.
    pub oom_score: Option<OomScore>,
    /// Where places for mounts may be made in the app that is being set up.
    own: Own,
    /// Directory of each shared tmpfs, by name.
    shared: HashMap<String, CString>,
    /// Most layers any app has.
    layers: usize,
    /// The root that is being set up, by its app's name.
    root: Option<(String, Root)>,
    /// Whether the empty directory is there that covers others.
    cover: bool,
    /// Over which the entry process tells that a unit's cgroup is ready.
    entry: Option<OwnedFd>,
}

impl Setup {
    /// Opens what must be opened while the host's file system is in sight.
    pub fn new(entry: Option<OwnedFd>) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
        let null = rustix::fs::open("/dev/null", flags, Mode::empty())
            .context(|| "open /dev/null".to_owned())?;
        // It covers what apps must not see, and is their standard input: nothing else will do.
        let device = rustix::fs::fstat(&null).context(|| "look at /dev/null".to_owned())?.st_rdev;
        if device != rustix::fs::makedev(1, 3) {
            return Err(Failure::rocket("/dev/null of this host is not the null device"));
        }
        let mount = read_only_node(&null, || "make a copy of /dev/null".to_owned())?;
        // A descriptor of a mount opens by its name in proc only.
        let name = format!("/proc/self/fd/{}", mount.as_raw_fd());
        let input = rustix::fs::open(name, flags, Mode::empty())
            .context(|| "open the copy of /dev/null".to_owned())?;
        let proc = mount::new_filesystem("proc", &[], PLAIN).context(|| "mount proc".to_owned())?;
        Ok(Self {
            proc,
            null,
            input,
            cgroup: None,
            limits: Vec::new(),
            map: None,
            oom_score: None,
            own: Own::default(),
            shared: HashMap::new(),
            layers: 0,
            root: None,
            cover: false,
            entry,
        })
    }

    /// Executes one operation.
    pub fn execute(
        &mut self,
        op: &Op<'_>,
        descriptors: &mut Descriptors,
        tether: Option<&Tether>,
    ) -> Result<()> {
        match op {
            Op::PrivateMounts => {
                mount::make_all_private().context(|| "make mounts private".to_owned())
            }
            Op::Hostname(name) => {
                rocket_sys::proc::set_hostname(name).context(|| "set the host name".to_owned())
            }
            Op::JoinNetwork => userns::join_network(descriptors),
            Op::MakeAsPodRoot(map) => {
                self.map = Some(*map);
                userns::make_files_as(map.base)
            }
            Op::MakeAsHostRoot => userns::make_files_as(0),
            Op::EnterUserNamespace => userns::enter(descriptors),
            Op::LoopbackUp => {
                rocket_sys::net::loopback_up().context(|| "set up the loopback".to_owned())
            }
            Op::Scratch => scratch(),
            Op::SharedTmpfs(shared) => self.shared_tmpfs(shared),
            Op::Root(app) => self.root(app, descriptors),
            Op::Mount(at, what) => self.mount(*at, what, descriptors).map_err(|f| {
                Failure::new(f.code, format!("{} ({} of app {})", f.text, at.path, at.app))
            }),
            Op::Mask(at) => self.mask(*at),
            Op::ReadOnly(at) => read_only(self.root_of(at.app)?, *at),
            Op::RootReadOnly(app) => root_read_only(self.root_of(app)?, app),
            Op::Sysctl(name, value) => sysctls::set(self.proc.as_fd(), name, value),
            Op::Pivot => self.pivot(),
            Op::AwaitGo => match tether {
                Some(tether) => tether.await_go(),
                None => Err(Failure::rocket("a scope needs a tether")),
            },
            Op::Cgroup { claim } => {
                if let Some(entry) = self.entry.take().filter(|_| !claim) {
                    entry::await_cgroup(&entry)?;
                }
                self.cgroup = Some(Tree::open(*claim)?);
                Ok(())
            }
            Op::GiveCgroup { owner, leaves } => match &self.cgroup {
                Some(tree) => tree.give(*owner, leaves),
                None => Err(Failure::rocket("a leaf without a cgroup")),
            },
            Op::Leaf(app, leaf, files) => {
                let Some(tree) = &self.cgroup else {
                    return Err(Failure::rocket("a leaf without a cgroup"));
                };
                let directory = tree.make_leaf(leaf)?;
                let place = limits::Place::Leaf(directory.as_fd());
                let found = limits::apply(place, &format!("app {app}"), files)?;
                self.limits.push(((*app).to_owned(), found));
                Ok(())
            }
            Op::DeviceRules(app, leaf, rules) => {
                let Some(tree) = &self.cgroup else {
                    return Err(Failure::rocket("a leaf without a cgroup"));
                };
                let leaf = tree.leaf(leaf)?;
                let outcome = devices::restrict(leaf.as_fd(), app, rules);
                if let Some((_, found)) = self.limits.iter_mut().find(|(name, _)| name == app) {
                    match outcome {
                        Ok(enforced) => found.enforced.push(enforced),
                        Err(ignored) => found.ignored.push(ignored),
                    }
                }
                Ok(())
            }
        }
    }

    /// Tells what became of limits, and looks at those of the unit, when everything is in place.
    pub fn report(&mut self, plan: &PodPlan, descriptors: &mut Descriptors) -> Result<()> {
        let leaves = std::mem::take(&mut self.limits);
        let report = limits::report(plan, self.cgroup.as_ref(), leaves)?;
        let Some(file) = descriptors.take_if_any(descriptor::REPORT) else { return Ok(()) };
        let say = || "write down what became of limits".to_owned();
        let mut text = serde_json::to_vec(&report).map_err(std::io::Error::other).context(say)?;
        text.push(b'\n');
        std::fs::File::from(file).write_all(&text).context(say)
    }

    fn shared_tmpfs(&mut self, shared: &Shared<'_>) -> Result<()> {
        let say = || format!("make the shared tmpfs {}", shared.name);
        let directory = c_string(&format!("../s/{}", self.shared.len()))?;
        rustix::fs::mkdir(&directory, MODE).context(say)?;
        let mode = format!("{:o}", shared.mode);
        let owner = |id| userns::outside(self.map.as_ref(), id).map(|id| id.to_string());
        let (uid, gid) = (owner(shared.uid)?, owner(shared.gid)?);
        let size = shared.size.map(|s| s.to_string());
        let mut options = vec![("mode", mode.as_str()), ("uid", &uid), ("gid", &gid)];
        options.extend(size.as_deref().map(|s| ("size", s)));
        let attributes = Attributes { nosuid: true, nodev: true, ..Attributes::default() };
        let fs = mount::new_filesystem("tmpfs", &options, attributes).context(say)?;
        mount::attach_at(fs.as_fd(), &directory).context(say)?;
        self.shared.insert(shared.name.to_owned(), directory);
        Ok(())
    }

    /// A detached copy of a shared tmpfs's mount.
    fn shared_mount(&self, name: &str) -> Result<OwnedFd> {
        let directory = self
            .shared
            .get(name)
            .ok_or_else(|| Failure::rocket(format!("no shared tmpfs {name}")))?;
        mount::open_tree_path(directory, false).context(|| format!("clone the tmpfs {name}"))
    }

    /// Kernel 6.1 takes layers only by path: they are attached under short names beside the working
    /// directory, one app's over another's, and mounted. The overlay keeps what it needs; the names
    /// go all at once with the old root, since each umount waits for every processor.
    fn root(&mut self, app: &AppPlan, descriptors: &mut Descriptors) -> Result<()> {
        let say = || format!("mount the root of app {}", app.name);
        rustix::fs::mkdir(rootfs::path(&app.name)?, MODE).context(say)?;
        let mut names = Vec::with_capacity(app.root.lowers.len());
        for (index, name) in app.root.lowers.iter().enumerate() {
            let directory = c_string(&format!("../l/{index}"))?;
            if index >= self.layers {
                rustix::fs::mkdir(&directory, MODE).context(say)?;
                self.layers = index + 1;
            }
            let layer = descriptors.take(name)?;
            // A copy of a shared mount is shared as well: what is attached over it, the layer of
            // the next app, would appear in the store of the host too, and stay there.
            mount::isolate(layer.as_fd(), Attributes::default()).context(say)?;
            mount::attach_at(layer.as_fd(), &directory)
                .context(|| format!("attach layer {name} of app {}", app.name))?;
            names.push(index.to_string());
        }
        let upper = descriptors.take(&app.root.upper)?;
        mount::isolate(upper.as_fd(), Attributes::default()).context(say)?;
        mount::attach_at(upper.as_fd(), c"../u").context(say)?;
        // volatile: every start has a clean upper directory, so nothing in it is worth a sync of its
        // file system, which the end of the overlay would otherwise wait for (ADR 0005).
        let options = c_string(&format!(
            "lowerdir={},upperdir=../u/upper,workdir=../u/work,volatile",
            names.join(":")
        ))?;
        let target = c_string(&format!("../root/apps/{}", app.name))?;
        rustix::process::chdir("../l").context(say)?;
        let mounted = mount::overlay(&target, &options).context(say);
        rustix::process::chdir("../root").context(say)?;
        mounted?;
        // Device nodes come from the plan, never from an image.
        let root = self.root_of(&app.name)?;
        let fd = root.resolve(b"/", OFlags::PATH).context(say)?;
        let nodev = Attributes { nodev: true, ..Attributes::default() };
        mount::restrict(fd.as_fd(), nodev, false).context(say)?;
        self.own.root(fd.as_fd())
    }

    /// The root of an app, opened once for all that is done in it.
    fn root_of(&mut self, app: &str) -> Result<&Root> {
        let root = match self.root.take() {
            Some((known, root)) if known == app => root,
            _ => rootfs::open(app)?,
        };
        Ok(&self.root.insert((app.to_owned(), root)).1)
    }

    fn mount(&mut self, at: At<'_>, what: &What<'_>, descriptors: &mut Descriptors) -> Result<()> {
        let say = || "mount".to_owned();
        let attributes = Attributes {
            read_only: what.read_only,
            nosuid: what.nosuid,
            nodev: what.nodev,
            noexec: what.noexec,
        };
        let plain = Attributes { read_only: what.read_only, ..PLAIN };
        // What is made here has its attributes from the start, and no peers; a copy of a shared mount
        // would get what the host mounts there later.
        let copy = |fs: OwnedFd| mount::isolate(fs.as_fd(), attributes).map(|()| fs).context(say);
        let fs = match what.source {
            MountSource::Descriptor(name) => copy(descriptors.take(name)?)?,
            MountSource::Tmpfs { size, mode } => {
                let mode = format!("{mode:o}");
                let size = size.map(|s| s.to_string());
                let mut options = vec![("mode", mode.as_str())];
                options.extend(size.as_deref().map(|s| ("size", s)));
                mount::new_filesystem("tmpfs", &options, attributes).context(say)?
            }
            MountSource::SharedTmpfs { name, .. } => copy(self.shared_mount(name)?)?,
            MountSource::Proc => mount::new_filesystem("proc", &[], plain).context(say)?,
            MountSource::Sysfs => mount::new_filesystem("sysfs", &[], plain).context(say)?,
            MountSource::Dev => {
                let shm = self.shared_mount("shm")?;
                let tty = userns::outside(self.map.as_ref(), dev::TTY)?;
                let root = self.root_of(at.app)?;
                return dev::make(root, at, what.devices, descriptors, Some(shm), tty);
            }
            MountSource::Cgroup2 => return Ok(()),
            MountSource::Credentials(list) => {
                let owner = |id| userns::outside(self.map.as_ref(), id);
                let (uid, gid) = (owner(what.owner.0)?, owner(what.owner.1)?);
                copy(credentials::make(list, uid, gid, descriptors)?)?
            }
        };
        let directory = rootfs::is_directory(&fs)?;
        self.root_of(at.app)?;
        let root = self.root.as_ref().map(|(_, root)| root);
        let root = root.ok_or_else(|| Failure::rocket(format!("app {} has no root", at.app)))?;
        let target = targets::place(root, at.path, directory, &self.own)?;
        mount::attach(fs.as_fd(), target.as_fd()).context(say)?;
        if what.lent { Ok(()) } else { self.own.add(fs.as_fd()) }
    }

    /// Covers by descriptor, before any app runs: nobody can exchange what is covered, or what covers.
    fn mask(&mut self, at: At<'_>) -> Result<()> {
        let say = || format!("mask {} of app {}", at.path, at.app);
        let Some(target) = rootfs::find(self.root_of(at.app)?, at.path)? else { return Ok(()) };
        let cover = if rootfs::is_directory(&target)? {
            self.cover().context(say)?
        } else {
            read_only_node(&self.null, say)?
        };
        mount::attach(cover.as_fd(), target.as_fd()).context(say)
    }

    /// A mount of the empty directory that nothing can be made in. It is one for all that is covered.
    fn cover(&mut self) -> std::result::Result<OwnedFd, rocket_sys::Error> {
        const PLACE: &CStr = c"../c";
        if !self.cover {
            let attributes = Attributes { read_only: true, ..PLAIN };
            let options = [("mode", "0555"), ("size", "4096"), ("nr_inodes", "2"), ("ro", "")];
            let empty = mount::new_filesystem("tmpfs", &options, attributes)?;
            mount::attach_at(empty.as_fd(), PLACE)?;
            self.cover = true;
        }
        mount::open_tree_path(PLACE, false)
    }

    fn pivot(&mut self) -> Result<()> {
        self.root = None;
        let say = || "leave the host's file system".to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let here = rustix::fs::openat(CWD, ".", flags, Mode::empty()).context(say)?;
        mount::pivot_into(here.as_fd()).context(say)?;
        let read_only = Attributes { read_only: true, ..Attributes::default() };
        mount::restrict(here.as_fd(), read_only, false).context(say)
    }
}

/// Two small file systems: one on `mnt` for what is only needed until the roots are mounted, and on
/// its `root` the one that becomes init's root. The working directory is there from here on.
fn scratch() -> Result<()> {
    let say = || "make the scratch file systems on mnt".to_owned();
    let attributes = Attributes { nosuid: true, nodev: true, ..Attributes::default() };
    let options = [("mode", "0755"), ("size", "1048576")];
    for (place, directories) in
        [("mnt", ["root", "c", "l", "s", "u"].as_slice()), ("root", &["apps"])]
    {
        let fs = mount::new_filesystem("tmpfs", &options, attributes).context(say)?;
        mount::attach_at(fs.as_fd(), &c_string(place)?).context(say)?;
        rustix::process::chdir(place).context(say)?;
        for directory in directories {
            rustix::fs::mkdir(*directory, MODE).context(say)?;
        }
    }
    Ok(())
}

/// A mount of a device node that can be written to, while mode, owner and times stay as they are.
fn read_only_node(node: &OwnedFd, say: impl Fn() -> String) -> Result<OwnedFd> {
    let copy = mount::open_tree_clone(node.as_fd(), c"", false).context(&say)?;
    let attributes = Attributes { read_only: true, ..Attributes::default() };
    mount::restrict(copy.as_fd(), attributes, false).context(&say)?;
    Ok(copy)
}

fn read_only(root: &Root, at: At<'_>) -> Result<()> {
    let say = || format!("make {} of app {} read-only", at.path, at.app);
    let Some(target) = rootfs::find(root, at.path)? else { return Ok(()) };
    let copy = mount::open_tree_clone(target.as_fd(), c"", true).context(say)?;
    let attributes = Attributes { read_only: true, ..Attributes::default() };
    mount::restrict(copy.as_fd(), attributes, true).context(say)?;
    mount::attach(copy.as_fd(), target.as_fd()).context(say)
}

fn root_read_only(root: &Root, app: &str) -> Result<()> {
    let say = || format!("make the root of app {app} read-only");
    let fd = root.resolve(b"/", OFlags::PATH).context(say)?;
    let attributes = Attributes { read_only: true, ..Attributes::default() };
    mount::restrict(fd.as_fd(), attributes, false).context(say)
}
