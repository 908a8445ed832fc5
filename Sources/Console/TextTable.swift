import Primitives

/// Rows of text in aligned columns, two spaces apart.
package struct TextTable: Sendable {
    package enum Alignment: Sendable { case left, right }

    package struct Column: Sendable {
        package let title: String
        package let alignment: Alignment

        package init(_ title: String, _ alignment: Alignment = .left) {
            self.title = title
            self.alignment = alignment
        }
    }

    private let columns: [Column]
    private var rows: [[String]] = []

    package init(_ columns: Column...) { self.columns = columns }
    package init(_ columns: [Column]) { self.columns = columns }

    package var isEmpty: Bool { rows.isEmpty }

    /// Missing cells are empty; cells without a column are dropped.
    package mutating func add(_ cells: String...) { add(cells) }

    package mutating func add(_ cells: [String]) {
        rows.append(columns.indices.map { $0 < cells.count ? DisplayText.safe(cells[$0]) : "" })
    }

    /// Lines that each end with a newline and have no space at their end; columns whose cells are all empty take no
    /// room, whatever their title. `widthMax` cuts the last column so that no line is longer; nil never cuts.
    package func rendered(indent: Int = 0, widthMax: Int? = nil) -> String {
        let hasTitles = columns.contains { !$0.title.isEmpty }
        let lines = (hasTitles ? [columns.map(\.title)] : []) + rows
        let widths = columns.indices.map { column in lines.map { DisplayText.width($0[column]) }.max() ?? 0 }
        let shown = columns.indices.filter { column in
            rows.isEmpty ? widths[column] > 0 : rows.contains { !$0[column].isEmpty }
        }
        return lines.map { cells in
            var line = String(repeating: " ", count: indent)
            for column in shown {
                if column != shown.first { line += "  " }
                var cell = cells[column]
                if column == shown.last, let widthMax {
                    cell = DisplayText.cut(cell, to: max(1, widthMax - DisplayText.width(line)))
                }
                let space = String(repeating: " ", count: max(0, widths[column] - DisplayText.width(cell)))
                line += columns[column].alignment == .left ? cell + space : space + cell
            }
            return line.trimmingTrailingSpaces + "\n"
        }.joined()
    }
}

/// How text behaves on a screen.
package enum DisplayText {
    /// Columns the text takes: none for combining characters, two for wide ones, one for the rest.
    package static func width(_ text: String) -> Int { text.reduce(0) { $0 + width($1) } }

    private static func width(_ character: Character) -> Int {
        guard let first = character.unicodeScalars.first else { return 0 }
        let properties = first.properties
        switch properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format, .control: return 0
        default: break
        }
        if properties.isEmojiPresentation || character.unicodeScalars.contains("\u{FE0F}") { return 2 }
        return wide.contains { $0.contains(first.value) } ? 2 : 1
    }

    /// East Asian Wide and Fullwidth (UAX #11), in blocks.
    private static let wide: [ClosedRange<UInt32>] = [
        0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
        0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x20000...0x3FFFD,
    ]

    /// The text when it fits, else its beginning and an ellipsis.
    package static func cut(_ text: String, to columns: Int) -> String {
        guard width(text) > columns else { return text }
        var taken = ""
        var used = 0
        for character in text {
            guard used + width(character) <= columns - 1 else { break }
            taken.append(character)
            used += width(character)
        }
        return taken + "…"
    }

    /// Control and direction characters replaced: text from the network must not steer the operator's terminal.
    package static func safe(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isUnsafe) else { return text }
        var safe = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { safe.append(isUnsafe(scalar) ? "\u{FFFD}" : scalar) }
        return String(safe)
    }

    private static func isUnsafe(_ scalar: UnicodeScalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: scalar != "\u{200D}"  // the joiner of emoji
        default: false
        }
    }
}

extension String {
    fileprivate var trimmingTrailingSpaces: String {
        var copy = self
        while copy.last == " " { copy.removeLast() }
        return copy
    }
}
