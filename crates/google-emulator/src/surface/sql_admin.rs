//! Cloud SQL Admin API.

use std::sync::Arc;

use hyper::{Request, Response};

use crate::body::Body;
use crate::cloud::Cloud;
use crate::error::{Error, Form};

/// Answers a request.
pub async fn handle(_cloud: &Arc<Cloud>, request: Request<Body>) -> Response<Body> {
    Error::not_emulated(request.uri().path()).response(Form::WithErrors)
}
