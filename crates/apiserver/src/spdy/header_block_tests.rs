use super::*;
use proptest::prelude::*;

fn sent(pairs: &[Headers]) -> Vec<Headers> {
    let (mut writer, mut reader) = (HeaderWriter::new().unwrap(), HeaderReader::new());
    pairs.iter().map(|headers| reader.read(&writer.write(headers).unwrap()).unwrap()).collect()
}

#[test]
fn the_dictionary_is_that_of_the_specification() {
    let mut compressed = HeaderWriter::new().unwrap().write(&Headers::default()).unwrap();
    // A zlib stream with a dictionary names it by its checksum, after two bytes of its own.
    compressed.truncate(6);
    assert_eq!(compressed[2..], 0xe3c6_a7c2_u32.to_be_bytes());
    assert_eq!(DICTIONARY.len(), 1423);
}

#[test]
fn blocks_share_one_compression() {
    let first = Headers::from([("streamtype", "error"), ("port", "8080"), ("requestid", "0")]);
    let second = Headers::from([("streamtype", "data"), ("port", "8080"), ("requestid", "0")]);
    let long = Headers::from([("x", "y".repeat(STEP * 3).as_str())]);
    let all = [first, second, Headers::default(), long];
    assert_eq!(sent(&all), all);
}

#[test]
fn what_is_too_large_or_damaged_is_refused() {
    let read =
        |headers: &Headers| HeaderReader::new().read(&HeaderWriter::new().unwrap().write(headers).unwrap());
    let bomb = Headers::from([("x", "y".repeat(LARGEST_BLOCK * 8).as_str())]);
    assert_eq!(read(&bomb), Err(HeaderError::TooLarge));
    assert_eq!(read(&Headers::from([("Port", "1")])), Err(HeaderError::Text));
    assert!(matches!(HeaderReader::new().read(b"port: 80"), Err(HeaderError::Compression(_))));
    assert_eq!(parse(&[0, 0, 0, 1]), Err(HeaderError::Lengths));
    assert_eq!(parse(&[0, 0, 0, 0, 7]), Err(HeaderError::Lengths));
    assert_eq!(parse(&[0, 0, 0, 1, 255, 255, 255, 255, 1]), Err(HeaderError::Lengths));
}

proptest! {
    #[test]
    fn any_headers_come_back(pairs in proptest::collection::vec(("[a-z0-9-]{1,20}", ".{0,60}"), 0..20)) {
        let headers = Headers(pairs);
        prop_assert_eq!(sent(&[headers.clone(), headers.clone()]), vec![headers.clone(), headers]);
    }

    #[test]
    fn any_bytes_are_read_or_refused(blocks in proptest::collection::vec(any::<Vec<u8>>(), 1..4)) {
        let mut reader = HeaderReader::new();
        for block in blocks {
            let _ = reader.read(&block);
            let _ = parse(&block);
        }
    }
}
