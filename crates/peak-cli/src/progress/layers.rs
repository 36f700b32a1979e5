//! How far a push or pull through the Docker Engine is: its layers, each known by what the Engine says of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use peak_sdk::apolo::{ImageProgress, ImageProgressPull, ImageProgressPush, ImageProgressStep};
use serde_json::json;

use super::{Form, Meter, Progress, write_line};

/// The steps whose bytes are those that go over the network.
const MOVING: [&str; 2] = ["Pushing", "Downloading"];

/// Draws what a push or pull says: one bar for all layers, lines in a log, or one event for each step.
pub(crate) struct LayerMeter {
    meter: Meter,
    /// Of each layer, how many bytes there are and how many of them have moved.
    layers: Mutex<BTreeMap<String, (u64, u64)>>,
}

impl Progress {
    /// Begins to show how far a push or pull through the Engine is.
    pub(crate) fn layers(&self, name: &'static str, message: String) -> Arc<LayerMeter> {
        Arc::new(LayerMeter {
            meter: self.meter(name, message),
            layers: Mutex::default(),
        })
    }
}

impl LayerMeter {
    /// Does the work and shows now and then how far it is.
    pub(crate) async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        self.meter.watch(work).await
    }
}

impl ImageProgress for LayerMeter {
    fn pull(&self, data: &ImageProgressPull) {
        let message = format!("{} to {}", data.src, data.dst);
        self.meter.progress.step(self.meter.name, &message);
    }

    fn push(&self, data: &ImageProgressPush) {
        let message = format!("{} to {}", data.src, data.dst);
        self.meter.progress.step(self.meter.name, &message);
    }

    fn step(&self, data: &ImageProgressStep) {
        if let Form::Json = &*self.meter.progress.0 {
            let event = json!({
                "event": "layer",
                "step": self.meter.name,
                "layer": data.layer_id,
                "status": data.status,
                "message": data.message,
                "current": data.current,
                "total": data.total,
            });
            write_line(&event.to_string());
        }
        if !MOVING.contains(&data.status.as_str()) {
            return;
        }
        let (Some(current), Some(total)) = (data.current, data.total) else {
            return;
        };
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, moved) = layers.entry(data.layer_id.clone()).or_default();
        // What the Engine sends is a little more than what it says there is.
        let current = current.min(total);
        if total > *known {
            self.meter.expect_more(total - *known);
            *known = total;
        }
        if current > *moved {
            self.meter.moved(current - *moved);
            *moved = current;
        }
    }
}
