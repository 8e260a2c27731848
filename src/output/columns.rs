//! A table with columns as wide as their widest cell.

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// Rows of cells under a header.
#[derive(Debug, Clone)]
pub struct Columns {
    header: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// An empty table.
    #[must_use]
    pub fn new(header: &[(&'static str, Align)]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. Cells beyond the header are not printed, missing ones are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table, two blanks between columns, no blanks at a line's end.
    #[must_use]
    pub fn render(&self) -> String {
        let titles: Vec<_> = self.header.iter().map(|(title, _)| (*title).to_owned()).collect();
        let widths = self.widths();
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1));
        let mut text = self.line(&titles, &widths) + &rule + "\n";
        for row in &self.rows {
            text += &self.line(row, &widths);
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let column = |(place, (title, _)): (usize, &(&str, Align))| {
            let cells = self.rows.iter().filter_map(|row| row.get(place));
            cells.map(|cell| width(cell)).chain([width(title)]).max().unwrap_or(0)
        };
        self.header.iter().enumerate().map(column).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut cells = cells.iter();
        let mut line = String::new();
        for ((_, align), room) in self.header.iter().zip(widths) {
            let cell = cells.next().map_or("", String::as_str);
            let blanks = " ".repeat(room.saturating_sub(width(cell)));
            match align {
                Align::Left => line = line + cell + &blanks,
                Align::Right => line = line + &blanks + cell,
            }
            line += "  ";
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Columns::new(&[("Node", Align::Left), ("Objects", Align::Right)]);
        table.row(["'a@h'".to_owned(), "7".to_owned()]);
        table.row(["'longer@h'".to_owned(), "12345678".to_owned()]);
        table.row(["'b@h'".to_owned()]);
        let lines = [
            "Node         Objects",
            "--------------------",
            "'a@h'              7",
            "'longer@h'  12345678",
            "'b@h'",
        ];
        assert_eq!(table.render(), lines.join("\n") + "\n");
    }
}
