//! What there is to build before a cluster can come up, and how long that may take.

use std::time::Duration;

use crate::builder::Builder;
use crate::docker;
use crate::error::Error;
use crate::image::IMAGES;
use crate::node;
use crate::program;

/// Tells the sum of what the missing parts took last time, when it is worth telling. Parts that are
/// in the cache cost nothing; a part without an estimate is not counted, and the text says "at least".
///
/// # Errors
/// A file of the checkout cannot be read.
pub fn tell(builder: &Builder) -> Result<(), Error> {
    let steps = missing(builder)?;
    let known: Vec<Duration> = steps.iter().filter_map(|it| builder.log.estimate(it)).collect();
    let minutes = known.iter().sum::<Duration>().as_secs().div_ceil(60);
    if minutes >= 2 {
        let unless = match &builder.registry {
            Some(registry) => format!(" unless {registry} has the images"),
            None => String::new(),
        };
        builder.log.note(format!(
            "{} parts are not in the cache yet; building them takes at least {minutes} minutes, once{unless}",
            steps.len()
        ));
    }
    Ok(())
}

fn missing(builder: &Builder) -> Result<Vec<String>, Error> {
    // kubectl and the API server of the tests are Kubernetes too, whatever Docker has.
    let mut names = vec!["kind", "fake-gcs-server", "cloud-sql-proxy", "kubernetes"];
    let needs_node = !docker::has_image(&node::image_name(&builder.root)?)?;
    if needs_node {
        names.extend(node::PROGRAMS.iter().filter(|it| **it != "kubernetes"));
    }
    let mut steps = program::missing_go(builder, &names)?;
    for image in &IMAGES {
        if !image.is_built(builder)? {
            steps.extend(image.rust_step());
            steps.extend(["base", "python", "image"].map(|kind| format!("{kind}-{}", image.name)));
        }
    }
    if needs_node {
        steps.extend(["base-node", "image-node"].map(str::to_owned));
    }
    Ok(steps)
}
