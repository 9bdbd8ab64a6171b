use super::*;

fn gone(name: &str) -> Step {
    let reference = ObjectRef::Namespace { name: name.to_owned() };
    Step::Change(Box::new((reference.clone(), Change::Delete(reference))))
}

struct Gatherer {
    steps: mpsc::Sender<Step>,
    batches: mpsc::Receiver<Batch>,
}

fn start(kinds: usize) -> Gatherer {
    let (steps, receiver) = mpsc::channel(100);
    let (sender, batches) = mpsc::channel(1);
    tokio::spawn(gather(receiver, kinds, Pace::default(), sender));
    Gatherer { steps, batches }
}

impl Gatherer {
    async fn send(&self, step: Step) {
        self.steps.send(step).await.expect("running");
    }

    async fn next(&mut self) -> usize {
        self.batches.recv().await.expect("running").changes.len()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_batch_waits_for_all_kinds() {
    let mut gatherer = start(2);
    gatherer.send(gone("a")).await;
    gatherer.send(Step::Complete).await;
    // The time is paused, and runs on to the end of this wait once nothing else is left to do.
    let nothing = tokio::time::timeout(Duration::from_secs(60), gatherer.batches.recv()).await;
    assert!(nothing.is_err());
    gatherer.send(gone("b")).await;
    gatherer.send(Step::Complete).await;
    assert_eq!(gatherer.next().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_one_batch_and_an_object_changes_once_in_it() {
    let mut gatherer = start(0);
    assert_eq!(gatherer.next().await, 0);
    for name in ["a", "b", "a", "a"] {
        gatherer.send(gone(name)).await;
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert_eq!(gatherer.next().await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_endless_burst_is_cut() {
    let mut gatherer = start(0);
    gatherer.next().await;
    let steps = gatherer.steps.clone();
    let busy = tokio::spawn(async move {
        for name in 0.. {
            if steps.send(gone(&name.to_string())).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let started = Instant::now();
    assert!(gatherer.next().await > 10);
    assert!(started.elapsed() <= Pace::default().longest + Duration::from_millis(5));
    busy.abort();
}
