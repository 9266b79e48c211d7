//! What every cluster gets from us: DNS and the emulated Google Cloud.

use crate::builder::Builder;
use crate::error::Error;
use crate::image;
use crate::kubectl::render;

/// Their folders in the checkout.
const FOLDERS: [&str; 2] = ["deploy/cluster/addons", "deploy/cluster/google"];

/// Their manifests, with the images by content rather than by hand.
pub(crate) fn render_all(builder: &Builder) -> Result<String, Error> {
    let mut manifests = String::new();
    for folder in FOLDERS {
        manifests.push_str(&render(builder, &builder.root.join(folder))?);
        manifests.push_str("\n---\n");
    }
    for image in &image::IMAGES {
        let tag = image.tag(&builder.root)?;
        let (by_hand, by_content) =
            (image::reference(image.name, "dev"), image::reference(image.name, &tag));
        manifests = manifests.replace(&by_hand, &by_content);
    }
    Ok(manifests)
}
