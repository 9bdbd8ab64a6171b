use super::*;

#[test]
fn what_listens_is_read_of_both_lists() {
    let text = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0
   1: 00000000:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 15 1 0 20 4 30 10 -1
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000
";
    let found: Vec<String> = listening(text).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["127.0.0.1:8080", "0.0.0.0:15001", "[::1]:8081"]);
}

#[test]
fn what_is_no_socket_is_left_out() {
    let found = listening("cat: /proc/net/tcp6: No such file\n0: é:1 x 0A\n1: 01:zz x 0A\n2: 0A");
    assert!(found.is_empty(), "{found:?}");
}
