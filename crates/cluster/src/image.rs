//! Container images: how each is put together, and where its archive is.
//!
//! An image's tag is the hash of all that goes into it, so "is it built?" and "is it loaded?" are
//! questions about a name. Each also carries the tag `dev`, which the overlays name by hand.

use std::path::{Path, PathBuf};

use process::Line;

use crate::base;
use crate::builder::Builder;
use crate::cache::Recipe;
use crate::digest::{self, Digest};
use crate::docker;
use crate::error::Error;
use crate::program;
use crate::python;
use crate::rust::{GOOGLE_EMULATOR, RustProgram};

/// What an image is built from, besides the files of its own folder.
#[derive(Debug)]
pub struct Image {
    /// The last part of its name.
    pub name: &'static str,
    /// Its folder in the checkout.
    folder: &'static str,
    /// Whether `base.packages` gives it a Debian base.
    has_base: bool,
    /// Go programs that are put beside the Dockerfile.
    programs: &'static [&'static str],
    /// A program of this project that is put there too.
    rust: Option<&'static RustProgram>,
    /// Whether `requirements.txt` gives it Python packages.
    has_python: bool,
}

/// The images that are loaded into the cluster, in the order in which a deployment needs them.
pub const IMAGES: [Image; 5] = [
    Image {
        name: "google-emulator",
        folder: "deploy/images/google-emulator",
        has_base: false,
        programs: &[],
        rust: Some(&GOOGLE_EMULATOR),
        has_python: false,
    },
    Image {
        name: "fake-gcs-server",
        folder: "fake-gcs",
        has_base: false,
        programs: &["fake-gcs-server"],
        rust: None,
        has_python: false,
    },
    Image {
        name: "cloud-sql-proxy",
        folder: "deploy/images/cloud-sql-proxy",
        has_base: false,
        programs: &["cloud-sql-proxy"],
        rust: None,
        has_python: false,
    },
    Image {
        name: "postgres",
        folder: "deploy/images/postgres",
        has_base: true,
        programs: &[],
        rust: None,
        has_python: false,
    },
    Image {
        name: "mlflow",
        folder: "deploy/images/mlflow",
        has_base: true,
        programs: &[],
        rust: None,
        has_python: true,
    },
];

/// An image that is built: its names and its archive.
#[derive(Clone, Debug)]
pub struct Built {
    /// The last part of its name.
    pub name: &'static str,
    /// The tag: a hash over the recipe.
    pub tag: String,
    /// The archive that `docker load` and `ctr images import` read.
    pub archive: PathBuf,
}

impl Built {
    /// The full name with the tag that tells the content: `localhost/mlflow-gke/mlflow:0123456789abcdef`.
    #[must_use]
    pub fn reference(&self) -> String {
        reference(self.name, &self.tag)
    }
}

/// The full name of an image of ours.
#[must_use]
pub fn reference(name: &str, tag: &str) -> String {
    format!("localhost/mlflow-gke/{name}:{tag}")
}

/// The label that says which recipe an image was built from: a tag can be moved, a label cannot.
pub(crate) const RECIPE_LABEL: &str = "mlflow-gke.dev/recipe";

/// [`RECIPE_LABEL`] and its value, as `docker build` takes it.
pub(crate) fn label(name: &str, tag: &str) -> String {
    format!("{RECIPE_LABEL}={name}:{tag}")
}

impl Image {
    /// The tag of the image as the checkout describes it now. Only files of the checkout are read.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn tag(&self, root: &Path) -> Result<String, Error> {
        let mut digest = Digest::default();
        digest.add("recipe", "image-2");
        digest.add("architecture", std::env::consts::ARCH);
        digest.add_folder(&root.join(self.folder))?;
        if self.has_base {
            digest.add_file("base.excludes", &root.join("deploy/images/base.excludes"))?;
        }
        for program in self.programs {
            digest.add_folder(&root.join("tools").join(program))?;
        }
        if let Some(program) = self.rust {
            program.add_to(&mut digest, root)?;
        }
        Ok(digest.finish())
    }

    /// Whether the cache has the image as the checkout describes it now.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn is_built(&self, builder: &Builder) -> Result<bool, Error> {
        let tag = self.tag(&builder.root)?;
        let recipe = Recipe { kind: "image", name: self.name, key: &tag, title: String::new() };
        Ok(builder.cache.peek(&recipe).is_some())
    }

    /// The step that compiles the image's program of this project, if it has one.
    pub(crate) fn rust_step(&self) -> Option<String> {
        self.rust.map(|it| format!("program-{}", it.name))
    }

    /// The image; when the cache lacks it, from the registry if the user names one that has it, and
    /// built otherwise.
    ///
    /// # Errors
    /// A part could not be built.
    pub fn obtain(&self, builder: &Builder) -> Result<Built, Error> {
        let tag = self.tag(&builder.root)?;
        let recipe = Recipe { kind: "image", name: self.name, key: &tag, title: String::new() };
        let folder = match builder.cache.peek(&recipe) {
            Some(folder) => folder,
            None => match self.pull(builder, &tag)? {
                Some(folder) => folder,
                None => self.build(builder, &tag)?,
            },
        };
        Ok(Built { name: self.name, tag, archive: folder.join("image.tar") })
    }

    /// What the cache then has is what [`Self::build`] would have put there.
    fn pull(&self, builder: &Builder, tag: &str) -> Result<Option<PathBuf>, Error> {
        let Some(registry) = &builder.registry else { return Ok(None) };
        if !registry.has(&builder.log, self.name, tag)? {
            return Ok(None);
        }
        let title = format!("pull the {} image from {registry}", self.name);
        let recipe = Recipe { kind: "image", name: self.name, key: tag, title };
        let step = format!("pull-{}", self.name);
        let pulled = builder.cache.obtain_by(&builder.log, &recipe, &step, |out, step| {
            builder.need_space(out, 2 * 1024)?;
            let images = self.references(tag);
            registry.pull(step, self.name, tag, &images)?;
            docker::save(&images, &out.join("image.tar"))
        });
        registry.excuse(&builder.log, pulled)
    }

    fn references(&self, tag: &str) -> [String; 2] {
        [reference(self.name, tag), reference(self.name, "dev")]
    }

    fn build(&self, builder: &Builder, tag: &str) -> Result<PathBuf, Error> {
        let title = format!("build the {} image", self.name);
        let recipe = Recipe { kind: "image", name: self.name, key: tag, title };
        let parts = self.parts(builder)?;
        builder.cache.obtain(&builder.log, &recipe, |out, step| {
            builder.need_space(out, 2 * 1024)?;
            let context = out.join("context");
            self.stage(builder, &parts, &context)?;
            let arguments: Vec<(&str, &str)> =
                parts.base.iter().map(|base| ("BASE", base.as_str())).collect();
            let images = self.references(tag);
            let labels = [label(self.name, tag)];
            let mut on_line = |line: Line<'_>| step.progress(line.text);
            docker::build(&context, &arguments, &labels, &images, &mut on_line)?;
            docker::save(&images, &out.join("image.tar"))?;
            std::fs::remove_dir_all(&context).map_err(Error::file("remove", context))
        })
    }

    /// Makes or finds everything that goes beside the Dockerfile.
    fn parts(&self, builder: &Builder) -> Result<Parts, Error> {
        let folder = builder.root.join(self.folder);
        let base = match self.has_base {
            true => Some(import_base(builder, self.name, &folder)?),
            false => None,
        };
        let mut programs = Vec::new();
        for name in self.programs {
            programs.push(program::obtain_go(builder, program::go_program(name)?)?);
        }
        if let Some(program) = self.rust {
            programs.push(program.obtain(builder)?);
        }
        let python = match self.has_python {
            true => Some(python::obtain_site_packages(builder, &folder.join("requirements.txt"))?),
            false => None,
        };
        Ok(Parts { base, programs, python })
    }

    /// Puts the build context together. Hard links make it free where the cache allows them.
    fn stage(&self, builder: &Builder, parts: &Parts, context: &Path) -> Result<(), Error> {
        copy_folder(&builder.root.join(self.folder), context)?;
        for program in &parts.programs {
            let name = program.file_name().unwrap_or_default();
            link(program, &context.join(name))?;
        }
        if let Some(site_packages) = &parts.python {
            copy_folder(site_packages, &context.join("site-packages"))?;
        }
        Ok(())
    }
}

struct Parts {
    base: Option<String>,
    programs: Vec<PathBuf>,
    python: Option<PathBuf>,
}

/// Docker's name of a base system; imported when the daemon lacks it.
pub(crate) fn import_base(builder: &Builder, name: &str, folder: &Path) -> Result<String, Error> {
    let base = base::obtain(builder, name, folder)?;
    let image = format!("mlflow-gke/base-{name}:{}", base.key);
    if !docker::has_image(&image)? {
        docker::import(&base.archive, &image)?;
    }
    Ok(image)
}

/// Copies a folder's files, modes included; results of the cache are linked, not copied.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    for file in digest::files(from)? {
        let relative = file.strip_prefix(from).unwrap_or(&file);
        link(&file, &to.join(relative))?;
    }
    Ok(())
}

/// A hard link, or a copy where the two are on different file systems.
pub(crate) fn link(from: &Path, to: &Path) -> Result<(), Error> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).map_err(Error::file("copy", from))?;
    }
    Ok(())
}

/// Sees to it that Docker has the image, for container tests.
///
/// # Errors
/// The client failed.
pub fn ensure_in_docker(built: &Built) -> Result<(), Error> {
    if docker::has_image(&built.reference())? {
        return Ok(());
    }
    docker::load(&built.archive)
}
