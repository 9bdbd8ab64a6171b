use super::*;
use http::HeaderMap;

fn view<'a>(path: &'a str, headers: &'a HeaderMap) -> RequestView<'a> {
    RequestView {
        header: HeaderView { method: "GET", path, authority: "shop", scheme: "http", headers },
        host: "shop",
        path,
        query: "",
        grpc: false,
        connect: false,
        random: 1,
        client_certificate: false,
    }
}

fn takes(path: PathMatch, given: &str) -> bool {
    let matcher =
        RouteMatch { path, headers: Vec::new(), query: Vec::new(), fraction: None, grpc: false, tls: None };
    matcher.matches(&view(given, &HeaderMap::new()), false)
}

#[test]
fn paths_are_matched_as_their_kind_says() {
    let prefix = |ignore| PathMatch::Prefix("/Foo".into(), ignore);
    let exact = |ignore| PathMatch::Exact("/Foo".into(), ignore);
    let segments = || PathMatch::Segments("/foo".into(), false);
    assert!(
        takes(prefix(false), "/Foobar") && !takes(prefix(false), "/foobar") && takes(prefix(true), "/foobar")
    );
    assert!(takes(exact(false), "/Foo") && !takes(exact(false), "/Foo/") && takes(exact(true), "/fOO"));
    assert!(takes(segments(), "/foo") && takes(segments(), "/foo/bar") && !takes(segments(), "/foobar"));
    assert!(!takes(PathMatch::Connect, "/"));
}

#[test]
fn path_parameters_are_left_out_where_asked() {
    let matcher = RouteMatch {
        path: PathMatch::Exact("/a".into(), false),
        headers: Vec::new(),
        query: Vec::new(),
        fraction: None,
        grpc: false,
        tls: None,
    };
    let headers = HeaderMap::new();
    assert!(matcher.matches(&view("/a;x=1", &headers), true));
    assert!(!matcher.matches(&view("/a;x=1", &headers), false));
}

#[test]
fn rewrites_replace_what_was_matched() {
    let prefix = PathMatch::Prefix("/api/".into(), false);
    assert_eq!(rewritten(&PathRewrite::Prefix("/".into()), &prefix, "/api/v1"), Some("/v1".into()));
    let exact = PathMatch::Exact("/old".into(), false);
    assert_eq!(rewritten(&PathRewrite::Prefix("/new".into()), &exact, "/old"), Some("/new".into()));
    assert_eq!(rewritten(&PathRewrite::Keep, &exact, "/old"), None);
}

fn weighted(weights: &[u64]) -> Weighted {
    let mut up_to = 0;
    let clusters = weights
        .iter()
        .enumerate()
        .map(|(index, weight)| {
            up_to += weight;
            WeightedCluster {
                name: index.to_string().into(),
                up_to,
                request_headers: HeaderMutations::default(),
                response_headers: HeaderMutations::default(),
                host: None,
            }
        })
        .collect();
    Weighted { clusters, total: up_to, sequence: EvenSequence::new(), header: None }
}

#[test]
fn ninety_nine_to_one_is_that_also_with_workers_side_by_side() {
    let weighted = weighted(&[99, 1]);
    let hits = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_500 {
                    if &*weighted.next().unwrap().name == "1" {
                        hits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(hits.into_inner().abs_diff(100) <= 3);
}

#[test]
fn a_client_with_a_rhythm_gets_its_share_too() {
    let weighted = weighted(&[1, 1]);
    // Every second request is of another kind.
    let first_of_kind = (0..10_000).filter(|number| {
        let cluster = weighted.next().unwrap();
        number % 2 == 0 && &*cluster.name == "0"
    });
    assert!(first_of_kind.count().abs_diff(2_500) < 50);
}

#[test]
fn a_weight_of_zero_takes_nothing() {
    let weighted = weighted(&[0, 5, 0]);
    for point in 0..5 {
        assert_eq!(&*weighted.at(point).unwrap().name, "1");
    }
    assert!(weighted.at(5).is_none());
}
