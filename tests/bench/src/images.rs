//! The root file systems and images that are measured with.

use crate::Setting;
use crate::measure::{run, shell};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

/// Root file system of the small image, unpacked: on the bed's own root.
pub const ROOT: &str = "/var/lib/bench-root";
/// Name of the small image in rocket's store and in podman's.
pub const IMAGE: &str = "example.com/small:1.0";
/// The tag in the layouts that this makes.
const TAG: &str = "bench";

const BIG_FILES: usize = 20_000;
/// Of a quick run.
const FEW_FILES: usize = 8_000;
/// Part of the cache's name: another recipe, another cache.
const BIG_RECIPE: &str = "large-3";

/// A busybox root file system that `true` and `sleep` can run in, whoever runs them.
pub fn small_root() -> Result<()> {
    shell(&format!(
        "[ ! -e {ROOT}/etc/os-release ] || exit 0
        mkdir -p {ROOT}/{{bin,dev,etc,proc,run,sys,tmp,usr,var}}
        cp /bin/busybox {ROOT}/bin/busybox
        for name in $({ROOT}/bin/busybox --list); do
            [ $name = busybox ] || ln -s busybox {ROOT}/bin/$name
        done
        echo root:x:0:0:root:/:/bin/sh >{ROOT}/etc/passwd
        echo root:x:0: >{ROOT}/etc/group
        echo ID=bench >{ROOT}/etc/os-release"
    ))?;
    Ok(())
}

/// Brings the small image into the store of a state directory.
pub fn small_image(state: &str) -> Result<()> {
    small_root()?;
    shell(&format!(
        "[ -e /tmp/small.aci ] ||
            rocket image pack {ROOT} --name {IMAGE} --exec /bin/true --output /tmp/small.aci
        rocket --state-dir={state} fetch /tmp/small.aci"
    ))?;
    Ok(())
}

/// Brings the same files into podman's store.
pub fn small_for_podman() -> Result<()> {
    small_root()?;
    shell(&format!(
        "! podman image exists {IMAGE} || exit 0
        umoci init --layout /tmp/small
        umoci new --image /tmp/small:{TAG}
        {}
        podman pull --quiet oci:/tmp/small:{TAG}
        podman tag $(podman images --quiet | head -n 1) {IMAGE}",
        add_layer_script(ROOT, &format!("/tmp/small:{TAG}"))
    ))?;
    Ok(())
}

/// A large image on the host's disk, ready to be taken in by anybody.
pub struct Large {
    /// OCI layout and tag, as rocket and podman call them.
    pub layout: String,
    /// The same as one archive, for `podman load`.
    pub archive: String,
    /// Its layers, bottom first.
    pub layers: Vec<String>,
    /// Bytes and files in them.
    pub size: String,
}

/// Makes the large image, once: of so many layers, with gzip, as registries hand them out, or plain.
pub fn large(setting: &Setting, count: usize, plain: bool) -> Result<Large> {
    let files = if setting.quick { FEW_FILES } else { BIG_FILES };
    let cache = setting.work.join("cache").join(format!("{BIG_RECIPE}-{files}-{count}"));
    let gzip = cache.join("gzip");
    if !cache.join("done").exists() {
        fs::remove_dir_all(&cache).or_else(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(e),
        })?;
        fs::create_dir_all(&cache)?;
        eprintln!("bench: making a large image (once)");
        let tree = cache.join("tree");
        let bytes = large_tree(&tree, files, count)?;
        fs::write(cache.join("size"), format!("{} MB, {files} files", bytes / 1_000_000))?;
        let (tree, image) = (text(&tree)?, format!("{}:{TAG}", text(&gzip)?));
        run(&["umoci", "init", "--layout", text(&gzip)?])?;
        run(&["umoci", "new", "--image", &image])?;
        for layer in 0..count {
            add_layer(&format!("{tree}/{layer}"), &image)?;
        }
        run(&["umoci", "gc", "--layout", text(&gzip)?])?;
        fs::remove_dir_all(tree)?;
        File::create(cache.join("done"))?;
    }
    let dir = if plain { cache.join("plain") } else { gzip.clone() };
    let archive = dir.with_extension("tar");
    if !archive.exists() {
        if plain {
            plain_copy(&gzip, &dir)?;
        }
        run(&["tar", "-C", text(&dir)?, "-cf", text(&archive)?, "."])?;
    }
    let manifest = manifest(&dir)?.0;
    let layers = manifest["layers"].as_array().context("a manifest without layers")?;
    let layers = layers.iter().map(|layer| Ok(text(&blob(&dir, layer)?)?.to_owned()));
    Ok(Large {
        layout: format!("oci:{}:{TAG}", text(&dir)?),
        archive: text(&archive)?.to_owned(),
        layers: layers.collect::<Result<_>>()?,
        size: fs::read_to_string(cache.join("size"))?,
    })
}

/// Adds a directory to an image of umoci's as a layer. `umoci insert` would do, but that of 0.4.7
/// leaves out the end of the archive.
fn add_layer(dir: &str, image: &str) -> Result<()> {
    shell(&add_layer_script(dir, image)).map(drop)
}

fn add_layer_script(dir: &str, image: &str) -> String {
    format!(
        "tar --sort=name --owner=0 --group=0 -C {dir} -cf {dir}.tar .
        umoci raw add-layer --image {image} {dir}.tar
        rm {dir}.tar"
    )
}

/// Writes the tree of the large image: a few large files, many small ones, half of the bytes
/// compressible, and always the same.
fn large_tree(tree: &Path, files: usize, layers: usize) -> Result<u64> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut written = 0;
    let mut block = vec![0; 64 * 1024];
    for index in 0..files {
        let dir = tree.join((index % layers).to_string());
        let dir = dir.join(format!("usr/share/part{:02}/{:03}", index / 1800, index / 30));
        fs::create_dir_all(&dir)?;
        // Mostly small, as in any distribution; every 500th is some MB.
        let size = match index % 500 {
            0 => (8 << 20) + random.below(8 << 20),
            _ if index % 4 == 0 => 1024 + random.below(80 << 10),
            _ => 256 + random.below(22 << 10),
        };
        let path = dir.join(format!("file{index}"));
        let mut file = BufWriter::new(File::create(&path)?);
        let mut left = usize::try_from(size)?;
        while left > 0 {
            let now = left.min(block.len());
            random.fill(&mut block[..now]);
            file.write_all(&block[..now])?;
            left -= now;
        }
        file.flush()?;
        written += size;
        if index % 50 == 0 {
            symlink(format!("file{index}"), dir.join(format!("link{index}")))?;
            fs::hard_link(&path, dir.join(format!("name{index}")))?;
        }
    }
    Ok(written)
}

/// Marsaglia's xorshift: quick, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Noise and words in turn, 128 bytes each.
    fn fill(&mut self, block: &mut [u8]) {
        const WORDS: [&[u8; 8]; 8] = [
            b"rocket  ",
            b"systemd ",
            b"cgroup  ",
            b"overlay ",
            b"journal ",
            b"service ",
            b"manager ",
            b"kernel\n ",
        ];
        for (index, chunk) in block.chunks_mut(8).enumerate() {
            let random = self.next();
            let bytes = match index / 16 % 2 {
                0 => random.to_le_bytes(),
                _ => *WORDS[(random >> 61) as usize],
            };
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// The same image with layers that are not compressed.
fn plain_copy(from: &Path, to: &Path) -> Result<()> {
    let blobs = to.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let (mut manifest, mut index) = manifest(from)?;
    let layers = manifest["layers"].as_array_mut().context("a manifest without layers")?;
    for layer in layers {
        let raw = to.join("layer");
        shell(&format!("gzip -dc {} >{}", text(&blob(from, layer)?)?, text(&raw)?))?;
        layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
        add(layer, &raw, to)?;
    }
    fs::copy(blob(from, &manifest["config"])?, blob(to, &manifest["config"])?)?;
    let raw = to.join("manifest");
    fs::write(&raw, serde_json::to_vec(&manifest)?)?;
    add(&mut index["manifests"][0], &raw, to)?;
    fs::write(to.join("index.json"), serde_json::to_vec(&index)?)?;
    fs::copy(from.join("oci-layout"), to.join("oci-layout"))?;
    Ok(())
}

/// Moves a file to where its digest says, and describes it.
fn add(descriptor: &mut Value, raw: &Path, layout: &Path) -> Result<()> {
    let sum = run(&["sha256sum", text(raw)?])?;
    let hex = sum.split(' ').next().unwrap_or_default();
    descriptor["digest"] = json!(format!("sha256:{hex}"));
    descriptor["size"] = json!(fs::metadata(raw)?.len());
    fs::rename(raw, blob(layout, descriptor)?)?;
    Ok(())
}

/// The only manifest of a layout, and the index that names it.
fn manifest(layout: &Path) -> Result<(Value, Value)> {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    let manifest = fs::read(blob(layout, &index["manifests"][0])?)?;
    Ok((serde_json::from_slice(&manifest)?, index))
}

fn blob(layout: &Path, descriptor: &Value) -> Result<std::path::PathBuf> {
    let digest = descriptor["digest"].as_str().context("a descriptor without a digest")?;
    Ok(layout.join("blobs").join(digest.replace(':', "/")))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
