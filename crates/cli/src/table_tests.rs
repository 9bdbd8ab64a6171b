use super::*;

#[test]
fn columns_are_as_wide_as_their_widest_cell_and_the_padding() {
    let mut table = Table::new(5, ["NAME", "STATUS", "RULE"]);
    table.row(["details".to_owned(), "OK".to_owned(), String::new()]);
    assert_eq!(table.render(), "NAME        STATUS     RULE\ndetails     OK         \n");
}
