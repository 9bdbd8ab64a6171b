//! The same change in meshes of different sizes: what it costs must follow the change, not the mesh.

use super::objects::Size;
use super::report::{Bar, Outcome};
use super::scenarios::Running;
use super::{Options, api, control_plane, fill, proxies};

/// Services in the meshes that are compared.
const SERVICES: [usize; 3] = [100, 1000, 5000];
/// Proxies in each of them.
const PROXIES: usize = 200;
/// How much more than in the smallest mesh a change may cost.
const MOST: f64 = 1.5;

/// Measures in one mesh that grows, and plots what it finds.
pub async fn measure(options: &Options, told: &mut impl FnMut(Outcome)) -> anyhow::Result<()> {
    let (kubeconfig, _api) = api(options).await?;
    let client = fill::client(&kubeconfig).await?;
    let size = |services| Size { services, ..options.size() };
    fill::prepare(&client, size(0)).await?;
    let mut smallest: Option<Outcome> = None;
    let mut points = Vec::new();
    let mut created = 0;
    for services in SERVICES {
        let size = size(services);
        fill::services(&client, size, created..services).await?;
        created = services;
        let control = control_plane(options, &kubeconfig).await?;
        let fleet = proxies(&client, &control, size, PROXIES).await?;
        let running = Running { client: client.clone(), size, control, fleet };
        running.complete().await?;
        let mut outcome = running.endpoint().await?;
        outcome.scenario = format!("scaling, {services} services");
        outcome.bars.clear();
        points.push((services, outcome.cpu / outcome.changes as f64, outcome.latency.p99));
        let base = smallest.get_or_insert_with(|| outcome.clone());
        let ratio = |ours: f64, theirs: f64| ours / theirs.max(f64::MIN_POSITIVE);
        let cpu = ratio(outcome.cpu, base.cpu);
        let p99 = ratio(outcome.latency.p99, base.latency.p99);
        outcome.bars.push(Bar::new(format!("CPU over {} services", SERVICES[0]), cpu, MOST, "x"));
        outcome.bars.push(Bar::new(format!("p99 over {} services", SERVICES[0]), p99, MOST, "x"));
        told(outcome);
    }
    let path = options.output.join("control-plane-scaling.svg");
    Ok(std::fs::write(path, plot(&points))?)
}

/// The processor time of the control plane and the latency of one change over the number of services.
fn plot(points: &[(usize, f64, f64)]) -> String {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"300\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"720\" height=\"300\" fill=\"white\"/>\n",
    );
    let cpu: Vec<_> = points.iter().map(|(services, cpu, _)| (*services, cpu * 1000.0)).collect();
    let p99: Vec<_> = points.iter().map(|(services, _, p99)| (*services, *p99)).collect();
    svg += &panel("CPU of the control plane a change, ms", &cpu, 20.0);
    svg += &panel("p99 from API to proxy, ms", &p99, 370.0);
    svg + "</svg>\n"
}

/// One curve at `left`: services on a logarithmic axis, values from zero.
fn panel(title: &str, points: &[(usize, f64)], left: f64) -> String {
    let (width, top, bottom) = (300.0, 50.0, 250.0);
    let highest = points.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let logarithm = |services: usize| (services.max(1) as f64).ln();
    let first = points.first().map_or(0.0, |(services, _)| logarithm(*services));
    let last = points.last().map_or(1.0, |(services, _)| logarithm(*services));
    let place = |(services, value): &(usize, f64)| {
        let x = left + 20.0 + (width - 40.0) * (logarithm(*services) - first) / (last - first).max(1.0);
        (x, bottom - (bottom - top) * value / highest)
    };
    let mut svg = format!(
        "<text x=\"{left}\" y=\"20\" font-weight=\"bold\">{title}</text>\n\
         <path d=\"M{left} {top}V{bottom}h{width}\" fill=\"none\" stroke=\"black\"/>\n"
    );
    let line: Vec<_> = points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    svg += &format!("<polyline points=\"{}\" fill=\"none\" stroke=\"steelblue\"/>\n", line.join(" "));
    for point in points {
        let ((x, y), (services, value)) = (place(point), point);
        svg += &format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"steelblue\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value:.1}</text>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{services}</text>\n",
            y - 8.0,
            bottom + 18.0
        );
    }
    svg
}

#[cfg(test)]
#[path = "scaling_tests.rs"]
mod tests;
