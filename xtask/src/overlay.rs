//! The overlay of an environment, rendered from a copy with the shell's settings and image tags.
//!
//! The user's files are never edited. A rendering is kept under `target/` by the hash of everything
//! that went into it, so an unchanged overlay costs the reading of its files.

mod syntax;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cluster::Digest;
use cluster::image::IMAGES;
use manifests::{Bundle, EnvFile, Environment, Finding, Problem, Settings, overrides, settings};

use crate::context::Context;
use crate::exit;

/// The settings of an overlay, before anything is rendered or compiled.
pub(crate) struct Source {
    environment: Environment,
    texts: Texts,
    settings: Option<Settings>,
    problems: Vec<Problem>,
    rendered: PathBuf,
}

impl Source {
    /// Reads the settings.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn read(context: &Context, environment: Environment) -> anyhow::Result<Self> {
        let texts = edited_settings(context, environment)?;
        let pairs = [(texts[0].0, texts[0].1.as_str()), (texts[1].0, texts[1].1.as_str())];
        let (settings, problems) = Settings::read(environment, pairs);
        let rendered = rendered(context, environment, &texts)?;
        Ok(Self { environment, texts, settings, problems, rendered })
    }

    /// Refuses settings and YAML that are not well formed, with everything that is wrong with them.
    ///
    /// # Errors
    /// There is a problem.
    pub(crate) fn refuse_problems(&self, context: &Context) -> anyhow::Result<()> {
        refuse(self.environment, &self.problems)?;
        self.refuse_syntax(context)
    }

    fn refuse_syntax(&self, context: &Context) -> anyhow::Result<()> {
        // What has been rendered parses, and most deploys find it rendered.
        if self.rendered.exists() {
            return Ok(());
        }
        refuse(self.environment, &syntax::check(&context.root, &self.environment.folder())?)
    }

    /// Renders.
    ///
    /// # Errors
    /// Kustomize refuses the overlay, or kubectl could not be built.
    pub(crate) fn render(self, context: &Context) -> anyhow::Result<Overlay> {
        self.refuse_syntax(context)?;
        let Self { environment, texts, settings, problems, rendered } = self;
        let text = kustomize(context, environment, &texts, &rendered)
            .with_context(|| format!("render the overlay `{}`", environment.folder()))?;
        let bundle = Bundle::parse(&text)
            .with_context(|| format!("read what `{}` renders", environment.folder()))?;
        Ok(Overlay { environment, text, bundle, settings, problems })
    }
}

/// A rendered overlay.
pub(crate) struct Overlay {
    /// The environment.
    pub(crate) environment: Environment,
    /// The YAML, as `kubectl kustomize` prints it.
    pub(crate) text: String,
    /// Its objects.
    pub(crate) bundle: Bundle,
    /// The settings, when every one of them is well formed.
    pub(crate) settings: Option<Settings>,
    /// What is wrong with the settings.
    pub(crate) problems: Vec<Problem>,
}

impl Overlay {
    /// Reads the settings and renders.
    ///
    /// # Errors
    /// A file cannot be read, or Kustomize refuses the overlay.
    pub(crate) fn render(context: &Context, environment: Environment) -> anyhow::Result<Self> {
        Source::read(context, environment)?.render(context)
    }

    /// What is wrong with the rendered objects.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        manifests::findings::check(&self.bundle)
    }

    /// Refuses an overlay that must not reach a cluster, with everything that is wrong with it.
    ///
    /// # Errors
    /// There is a problem or a finding.
    pub(crate) fn refuse_faults(&self) -> anyhow::Result<()> {
        // A placeholder is in the file and in every object made from it; the file is where to mend it.
        refuse(self.environment, &self.problems)?;
        refuse(self.environment, &self.findings())
    }
}

fn refuse<T: std::fmt::Display>(environment: Environment, faults: &[T]) -> anyhow::Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Err(exit::error(
        exit::REFUSED,
        format!("environment `{environment}` is not fit to deploy\n{}", lines.join("\n")),
    ))
}

type Texts = [(&'static str, String); 2];

/// The two files of settings with the shell's variables and the images' tags written in.
fn edited_settings(context: &Context, environment: Environment) -> anyhow::Result<Texts> {
    let mut texts = Vec::new();
    for path in settings::files(environment) {
        let text = std::fs::read_to_string(context.root.join(path))
            .with_context(|| format!("cannot read the settings in `{path}`"))?;
        texts.push((path, text));
    }
    let files = [0, 1].map(|index: usize| {
        let (path, text) = &texts[index];
        EnvFile::parse(path, text).0
    });
    let tags = match environment.is_local() {
        true => image_tags(&context.root)?,
        false => Vec::new(),
    };
    let edits = overrides::edits(environment, &files, |variable| {
        let tag = tags.iter().find(|(name, _)| *name == variable).map(|(_, tag)| tag.clone());
        std::env::var(variable).ok().or(tag)
    });
    let edited: Vec<_> = texts
        .into_iter()
        .map(|(path, text)| (path, overrides::apply(path, &text, &edits)))
        .collect();
    edited.try_into().map_err(|_| anyhow::anyhow!("an environment has two files of settings"))
}

/// On the local cluster an image's tag is the hash of its recipe, so a changed recipe rolls out.
fn image_tags(root: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut tags = Vec::new();
    for image in &IMAGES {
        match image.name {
            "mlflow" => tags.push(("MLFLOW_IMAGE_TAG", image.tag(root)?)),
            "postgres" => tags.push(("POSTGRES_IMAGE_TAG", image.tag(root)?)),
            _ => {}
        }
    }
    Ok(tags)
}

/// Where the rendering of exactly these files is, or will be.
fn rendered(context: &Context, environment: Environment, texts: &Texts) -> anyhow::Result<PathBuf> {
    let mut digest = Digest::default();
    digest.add("environment", environment.name());
    digest.add_folder(&context.root.join("deploy/mlflow"))?;
    for (path, text) in texts {
        digest.add(path, text);
    }
    let name = format!("{environment}-{}.yaml", digest.finish());
    Ok(context.root.join("target/xtask/rendered").join(name))
}

fn kustomize(
    context: &Context,
    environment: Environment,
    texts: &Texts,
    rendered: &Path,
) -> anyhow::Result<String> {
    if let Ok(text) = std::fs::read_to_string(rendered) {
        return Ok(text);
    }
    let copy = rendered.with_extension(std::process::id().to_string());
    let result = render_copy(context, environment, &copy, texts);
    drop(std::fs::remove_dir_all(&copy));
    let text = result?;
    write_whole(rendered, &text)?;
    Ok(text)
}

fn render_copy(
    context: &Context,
    environment: Environment,
    copy: &Path,
    texts: &Texts,
) -> anyhow::Result<String> {
    copy_files(&context.root.join("deploy/mlflow"), &copy.join("deploy/mlflow"))?;
    for (path, text) in texts {
        let path = copy.join(path);
        std::fs::write(&path, text)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let rendered = cluster::render(&context.builder, &copy.join(environment.folder()));
    rendered.map_err(|error| in_the_users_files(error.into(), copy))
}

/// The same error about the files that were copied: the copy is gone before anybody could look at it.
fn in_the_users_files(error: anyhow::Error, copy: &Path) -> anyhow::Error {
    let text = format!("{error:#}");
    let copy = format!("{}/", copy.display());
    match text.contains(&copy) {
        true => exit::error(exit::code(&error), text.replace(&copy, "")),
        false => error,
    }
}

fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create `{}`", to.display()))?;
    for entry in
        std::fs::read_dir(from).with_context(|| format!("cannot read `{}`", from.display()))?
    {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot write `{}`", target.display()))?;
        }
    }
    Ok(())
}

/// A reader sees the old file or the new one, never half of one.
fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let temporary: PathBuf = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, path))
        .with_context(|| format!("cannot write `{}`", path.display()))
}
