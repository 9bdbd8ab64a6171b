use super::*;
use proptest::prelude::*;

fn encoded(frames: &[Frame]) -> BytesMut {
    let (mut writer, mut bytes) = (FrameWriter::new().unwrap(), BytesMut::new());
    for frame in frames {
        writer.encode(frame.clone(), &mut bytes).unwrap();
    }
    bytes
}

/// Reads frames from bytes that arrive in pieces.
fn decoded(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
    let (mut reader, mut buffer, mut frames) = (FrameReader::new(), BytesMut::new(), Vec::new());
    for part in bytes.chunks(piece) {
        buffer.extend_from_slice(part);
        while let Some(frame) = reader.decode(&mut buffer)? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn one_of_each() -> Vec<Frame> {
    let headers = || Headers::from([("streamtype", "data"), ("port", "80"), ("requestid", "3")]);
    vec![
        Frame::SynStream { stream: 1, finished: false, unidirectional: true, headers: headers() },
        Frame::SynReply { stream: 1, finished: true, headers: Headers::default() },
        Frame::Headers { stream: 1, finished: false, headers: headers() },
        Frame::RstStream { stream: 5, status: reset::REFUSED_STREAM },
        Frame::Settings { entries: vec![(7, 1 << 20), (4, 100)] },
        Frame::Ping { id: 9 },
        Frame::GoAway { last_stream: 7, status: 0 },
        Frame::WindowUpdate { stream: 0, delta: 65536 },
        Frame::Data { stream: 3, finished: true, data: Bytes::from_static(b"bytes") },
    ]
}

#[test]
fn frames_have_the_specifications_bytes() {
    assert_eq!(encoded(&[Frame::Ping { id: 1 }])[..], [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]);
    let data = Frame::Data { stream: 3, finished: true, data: Bytes::from_static(b"ab") };
    assert_eq!(encoded(&[data])[..], [0, 0, 0, 3, 1, 0, 0, 2, b'a', b'b']);
}

#[test]
fn unknown_kinds_are_skipped() {
    let mut bytes = vec![0x80, 3, 0, 11, 0, 0, 0, 2, 1, 2];
    bytes.extend_from_slice(&encoded(&[Frame::Ping { id: 1 }]));
    assert_eq!(decoded(&bytes, 5).unwrap(), [Frame::Ping { id: 1 }]);
}

#[test]
fn what_is_no_session_is_refused() {
    let failure = |bytes: &[u8]| decoded(bytes, bytes.len()).unwrap_err().to_string();
    assert!(failure(b"GET / HTTP/1.1\r\n").contains("bytes long"));
    assert!(failure(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]).contains("version 2"));
    assert!(failure(&[0x80, 3, 0, 6, 0, 0, 0, 5, 0, 0, 0, 1, 0]).contains("kind 6 is 5 bytes"));
    assert!(failure(&[0, 0, 0, 0, 0, 0, 0, 0]).contains("stream 0"));
    // A count of settings that the frame cannot hold asks for no memory.
    assert!(failure(&[0x80, 3, 0, 4, 0, 0, 0, 4, 255, 255, 255, 255]).contains("kind 4"));
}

proptest! {
    #[test]
    fn frames_come_back_whatever_the_pieces(piece in 1_usize..64) {
        prop_assert_eq!(decoded(&encoded(&one_of_each()), piece).unwrap(), one_of_each());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>(), piece in 1_usize..64) {
        let _ = decoded(&bytes, piece);
    }

    #[test]
    fn damaged_frames_are_read_or_refused(at in any::<proptest::sample::Index>(), value in any::<u8>()) {
        let mut bytes = encoded(&one_of_each());
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = decoded(&bytes, 16);
    }
}
