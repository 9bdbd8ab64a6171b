use super::*;

#[test]
fn samples_with_and_without_labels() {
    let text = "# TYPE a counter\na{x=\"1\",y=\"q\\\"z\\\\\"} 3 1700000000\nb 2.5\nbroken{x=\nc{} NaN\n";
    let read: Vec<_> = samples(text).collect();
    assert_eq!(read.len(), 3);
    assert_eq!(read[0].labels, [("x", "1".to_owned()), ("y", "q\"z\\".to_owned())]);
    assert_eq!(read[0].value, 3.0);
    assert_eq!((read[1].name, read[1].value), ("b", 2.5));
    assert!(read[2].value.is_nan());
}
