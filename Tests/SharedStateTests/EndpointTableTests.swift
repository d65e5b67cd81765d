// EndpointTableTests — rows that are found again, counts by worker, orders; and what a process that died leaves.

import Kernel
import Testing

@testable import SharedState

@Suite struct EndpointTableTests {
  private func table(rows: Int = 64, columns: Int = 16) throws -> EndpointTable { try EndpointTable(try EndpointTable.create(rows: rows, columns: columns)) }

  @Test func theSameNamesHaveTheSameRow() throws {
    let file = try EndpointTable.create(rows: 64, columns: 16)
    let one = try EndpointTable(file), other = try EndpointTable(file)
    let row = try #require(one.claim(upstream: "web", endpoint: "10.0.0.1:80", now: 5_000))
    #expect(other.claim(upstream: "web", endpoint: "10.0.0.1:80", now: 6_000) == row)
    #expect(other.find(EndpointTable.key(upstream: "web", endpoint: "10.0.0.1:80")) == row)
    #expect(other.name(row) == "10.0.0.1:80")
    let another = try #require(other.claim(upstream: "api", endpoint: "10.0.0.1:80", now: 6_000))
    #expect(another != row)
    #expect(one.rows(ofUpstream: "web") == [row] && one.rows(ofUpstream: "api") == [another] && one.rows(ofUpstream: "no").isEmpty)
  }

  @Test func namesMayBeLongAndStrange() throws {
    let table = try table()
    let long = "unix:/" + String(repeating: "x", count: 100)
    let row = try #require(table.claim(upstream: "u", endpoint: long, now: 1))
    #expect(table.name(row) == String(long.prefix(EndpointTable.nameLimit)))
    let strange = try #require(table.claim(upstream: "u", endpoint: "bücher.example:80", now: 1))
    #expect(table.name(strange) == "bücher.example:80")
  }

  @Test func allThatFitAreHeld() throws {
    let table = try table()
    let rows = (0..<64).compactMap { table.claim(upstream: "u", endpoint: "10.0.0.\($0):80", now: 1_000) }
    #expect(Set(rows).count == 64)
    #expect(table.claim(upstream: "u", endpoint: "one more", now: 1_000) == nil)
    // Those that nobody has spoken of for long give way; others do not.
    for row in rows.dropFirst() { table.touch(row, now: 1_200_000) }
    #expect(table.claim(upstream: "u", endpoint: "one more", now: 1_200_000) == rows[0])
    #expect(table.name(rows[0]) == "one more" && table.find(EndpointTable.key(upstream: "u", endpoint: "10.0.0.0:80")) == nil)
  }

  @Test func newsIsOfAGroupOfUpstreams() throws {
    let table = try table()
    let rows = try ["web", "api"].map { try #require(table.claim(upstream: $0, endpoint: "10.0.0.1:80", now: 1_000)) }
    let groups = ["web", "api"].map { EndpointTable.group(ofUpstream: EndpointTable.key(upstream: $0)) }
    #expect(groups[0] != groups[1] && groups.allSatisfy { (0..<EndpointTable.newsCount).contains($0) })
    let before = table.epoch
    table.announce(rows[1])
    table.set(.draining, rows[1])
    #expect(table.epoch == before + 2 && table.news(ofGroup: groups[1]) == 2 && table.news(ofGroup: groups[0]) == 0)
  }

  @Test func aRowThatIsGivenToAnotherIsClean() throws {
    let table = try table(rows: 1)
    let row = try #require(table.claim(upstream: "u", endpoint: "old", now: 0))
    table.set(.disabled, row)
    table.add(7, .requests, row)
    table.publish(3, row: row, column: 2)
    #expect(table.claim(upstream: "u", endpoint: "new", now: 2_000_000) == row)
    #expect(table.administration(row) == .enabled && table.value(.requests, row) == 0 && table.inFlight(row, columns: 16) == 0)
  }

  @Test func countsAddUpAndCanBeDropped() throws {
    let table = try table()
    let row = try #require(table.claim(upstream: "u", endpoint: "e", now: 1))
    #expect(table.columnsUsed == 0)
    for column in [0, 3, 15] {
      #expect(table.use(column: column))
      table.publish(UInt32(column + 1), row: row, column: column)
    }
    #expect(table.columnsUsed == 16 && table.inFlight(row, columns: table.columnsUsed) == 21)
    #expect(!table.use(column: 16) && !table.use(column: -1))
    table.dropColumn(3)
    #expect(table.inFlight(row, columns: 16) == 17)
    table.dropColumn(99)
  }

  @Test func ordersAreAnnounced() throws {
    let table = try table()
    let row = try #require(table.claim(upstream: "u", endpoint: "e", now: 1))
    let before = table.epoch
    table.set(.draining, row)
    #expect(table.epoch != before && table.administration(row) == .draining)
    // What another version may have written is no order.
    table.store(99, .administration, row)
    #expect(table.administration(row) == .enabled)
  }

  @Test func aLargerTableTakesOver() throws {
    let old = try table(), new = try table(rows: 256, columns: 32)
    for number in 0..<40 {
      let row = try #require(old.claim(upstream: "u", endpoint: "e\(number)", now: 1))
      old.add(UInt64(number), .requests, row)
      if number == 7 { old.set(.disabled, row) }
      old.publish(5, row: row, column: 0)
    }
    new.copy(from: old)
    for number in 0..<40 {
      let row = try #require(new.find(EndpointTable.key(upstream: "u", endpoint: "e\(number)")))
      #expect(new.value(.requests, row) == UInt64(number) && new.name(row) == "e\(number)" && new.inFlight(row, columns: 32) == 0)
      #expect(new.administration(row) == (number == 7 ? .disabled : .enabled))
    }
  }

  @Test func sizesGrowWithWhatIsThere() {
    #expect(EndpointTable.rows(endpoints: 1, upstreams: 1) == 64)
    #expect(EndpointTable.rows(endpoints: 10_000, upstreams: 1_000) == 32_768)
    #expect(EndpointTable.columns(workers: 1) == 16 && EndpointTable.columns(workers: 6) == 32 && EndpointTable.columns(workers: 1000) == 1024)
  }

  @Test func otherFilesAreRefused() throws {
    #expect(throws: Errno.self) { try EndpointTable(try MemoryFile.table(size: 4096, name: "short")) }
    #expect(throws: Errno.self) { try EndpointTable(try MemoryFile.table(size: 1 << 20, name: "zero")) }
  }

  @Test func oneLeads() throws {
    let table = try table()
    #expect(table.leader == nil)
    #expect(table.lead(generation: 1, row: 4, now: 1_000, until: 4_000) && table.leader == 4)
    #expect(table.lead(generation: 1, row: 4, now: 1_500, until: 4_500), "whoever has it renews it")
    #expect(!table.lead(generation: 1, row: 5, now: 4_000, until: 7_000))
    #expect(table.lead(generation: 1, row: 5, now: 4_500, until: 7_500), "its time was over")
    #expect(!table.lead(generation: 1, row: 4, now: 4_600, until: 7_600))
    #expect(table.lead(generation: 2, row: 9, now: 4_700, until: 7_700), "a later generation takes it")
    #expect(!table.lead(generation: 1, row: 5, now: 4_800, until: 7_800))
    table.ceaseToLead(row: 5)
    #expect(table.leader == 9)
    table.ceaseToLead(row: 9)
    #expect(table.leader == nil && table.lead(generation: 1, row: 5, now: 4_900, until: 7_900))
    // Generations go round.
    #expect(table.lead(generation: 65_535, row: 1, now: 90_000, until: 93_000) && table.lead(generation: 65_536, row: 2, now: 90_100, until: 93_100))
  }

  /// Workers that start at the same moment claim the same rows.
  @Test func whoeverClaimsAtTheSameTimeGetsTheSameRow() async throws {
    for _ in 0..<20 {
      let table = try table(rows: 256)
      let found = await withTaskGroup(of: [Int?].self) { group in
        for _ in 0..<4 { group.addTask { (0..<40).map { table.claim(upstream: "u", endpoint: "10.0.0.\($0):80", now: 1_000) } } }
        return await group.reduce(into: [[Int?]]()) { $0.append($1) }
      }
      #expect(Set(found).count == 1 && Set(found[0]).count == 40 && !found[0].contains(nil))
    }
  }
}
