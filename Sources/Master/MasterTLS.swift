// MasterTLS — certificates and ticket keys of a running gateway: noticed, judged, and handed to the workers without a reload.
//
// Certificates are read again when something has happened in a directory on the way to one of their files, after a short
// rest, because a certificate and its key change one after the other. What is not good is logged, and the old one stays.

import Configuration
import Control
import Kernel
import Plan
import TLS

/// What the master keeps for TLS.
struct TLSState {
  /// Milliseconds without a further change before files are read.
  static let rest: Int64 = 250
  /// …and after the first change at the latest.
  static let longestRest: Int64 = 2_000
  /// Between two looks at the certificates' age.
  static let day: Int64 = 86_400_000

  var tickets: TicketRing
  /// When changed files are to be read, and when that will be at the latest; milliseconds of the monotonic clock.
  var readAt: Int64?
  var readAtLatest: Int64 = 0
  /// When the age of certificates is looked at the next time.
  var ageAt: Int64 = .max
  /// What has been said of the age of certificates, by file.
  var ages: [String: String] = [:]
  /// What is wrong with the files on disk, by setting: the certificates in use are older ones.
  var problems: [String: String] = [:]
}

extension Master {
  /// When something is due here; nil: nothing is.
  var nextTLSDeadline: Int64? {
    guard let plan = servingPlan, plan.speaksTLS else { return nil }
    return min(tls.tickets.dueAt(rotation: plan.tickets.rotation), tls.readAt ?? .max, tls.ageAt)
  }

  private var servingPlan: Plan? { supervisor.serving.flatMap { generations[$0]?.plan } }

  /// Does what is due.
  func tendTLS() {
    guard let plan = servingPlan, plan.speaksTLS else { return }
    let now = Time.milliseconds
    if tls.tickets.dueAt(rotation: plan.tickets.rotation) <= now { rotateTickets(plan, now) }
    if let time = tls.readAt, time <= now { readCertificates() }
    if tls.ageAt <= now {
      tls.ages = [:]
      lookAtAges(plan)
    }
  }

  /// A generation has taken over: its files are watched from now on.
  func watchCertificates() {
    tls.problems = [:]
    tls.readAt = nil
    guard let plan = servingPlan else { return }
    // What has changed between the reading of the configuration and the watch would go unnoticed.
    if watchFiles(of: plan) { changeNoticed() }
    lookAtAges(plan)
  }

  /// Something has happened in a directory.
  func changeNoticed() {
    let now = Time.milliseconds
    if tls.readAt == nil { tls.readAtLatest = now + TLSState.longestRest }
    tls.readAt = min(now + TLSState.rest, tls.readAtLatest)
  }

  /// - Returns: whether there is anything to watch.
  private func watchFiles(of plan: Plan) -> Bool {
    let directories = CertificateRefresh.directories(of: plan)
    if directories.isEmpty, watch == nil { return false }
    if watch == nil {
      do throws(Errno) {
        watch = try DirectoryWatch()
      } catch {
        journal.write(.warn, "changes of certificates go unnoticed until the next reload: \(error.text)")
        return false
      }
    }
    for (directory, error) in watch?.watch(directories) ?? [] {
      journal.write(.warn, "changes of certificates in \(directory) go unnoticed: \(error.text)")
    }
    return !directories.isEmpty
  }

  // MARK: Certificates

  /// Reads the files again and hands what has changed to the workers.
  private func readCertificates() {
    tls.readAt = nil
    var problems: [String: String] = [:]
    for number in generations.keys.sorted() where supervisor.phase(of: number) != .draining && supervisor.phase(of: number) != .abandoned {
      refresh(number, &problems)
    }
    for (setting, problem) in problems.sorted(by: { $0.key < $1.key }) where tls.problems[setting] != problem {
      journal.write(.error, "\(setting) \(problem); the certificate in use stays")
    }
    tls.problems = problems
    guard let plan = servingPlan else { return }
    _ = watchFiles(of: plan)
    lookAtAges(plan)
  }

  private func refresh(_ number: UInt64, _ problems: inout [String: String]) {
    guard var record = generations[number] else { return }
    var refresh = CertificateRefresh()
    refresh.read(&record.plan)
    problems.merge(refresh.problems) { $1 }
    let changed = refresh.changed
    guard !changed.isEmpty else { return }
    do throws(Errno) {
      record.planFile = try SealedPlan(record.plan)
    } catch {
      return journal.write(.error, "changed certificates cannot be handed out: \(error.text)")
    }
    generations[number] = record
    for worker in workers.values where worker.generation == number && !worker.send(.certificates, descriptors: [record.planFile.file.raw]) {
      journal.write(.error, "worker \(worker.slot) of generation \(number) (PID \(worker.process)) could not be given the changed certificates")
    }
    journal.write(.info, "changed certificates are in use (generation \(number)): \(changed.joined(separator: ", "))")
  }

  /// Warns of certificates that will not be good for long, once a day.
  private func lookAtAges(_ plan: Plan) {
    tls.ageAt = Time.milliseconds + TLSState.day
    let now = Time.wallSeconds
    var seen: Set<String> = []
    for plan in plan.listeners.compactMap(\.tls).flatMap(\.certificates) + plan.upstreams.compactMap(\.tls?.certificate) where seen.insert(plan.certificateFile).inserted {
      guard let certificate = Certificate(chain: plan.chain), let remark = CertificateFiles.remark(on: certificate, now: now) else { continue }
      // Files are looked at whenever something may have changed; once is enough.
      if tls.ages[plan.certificateFile] != remark { journal.write(.warn, "the certificate in \(plan.certificateFile) \(remark)") }
      tls.ages[plan.certificateFile] = remark
    }
    tls.ages = tls.ages.filter { seen.contains($0.key) }
  }

  // MARK: Tickets

  private func rotateTickets(_ plan: Plan, _ now: Int64) {
    do throws(TLSError) {
      tls.tickets.rotate(try TicketKeys.make(), keeping: plan.tickets.keys, now: now)
    } catch {
      return journal.write(.error, "\(error.reason); the keys in use stay")
    }
    // Those who have just begun have the old keys on their way; orders are obeyed in turn.
    for worker in workers.values { worker.send(.ticketKeys(tls.tickets.bytes)) }
    journal.write(.debug, "session tickets are encrypted with a new key")
  }

  // MARK: Status

  func describeCertificates(_ json: inout JSONText) {
    let now = Time.wallSeconds
    json.list("certificates") { json in
      guard let serving = supervisor.serving, let record = generations[serving] else { return }
      for (key, listener) in zip(ListenerTable.keys(of: record.plan), record.plan.listeners) {
        for plan in listener.tls?.certificates ?? [] {
          guard let certificate = Certificate(chain: plan.chain) else { continue }
          json.object { json in
            json.field("listener", listeners.slots(of: key)?.text ?? "-")
            json.field("file", plan.certificateFile)
            json.list("names") { json in
              for name in certificate.names { json.field(nil, name) }
            }
            json.field("key", certificate.key)
            json.field("issuer", certificate.issuer)
            json.field("fingerprint", certificate.fingerprint)
            json.field("not_before", certificate.notBefore)
            json.field("not_after", certificate.notAfter)
            json.field("days_left", (certificate.notAfter - now) / 86_400)
            json.field("expired", certificate.notAfter <= now)
          }
        }
      }
    }
    json.list("certificate_problems") { json in
      for (setting, problem) in tls.problems.sorted(by: { $0.key < $1.key }) { json.field(nil, "\(setting) \(problem)") }
    }
    json.object("session_tickets") { json in
      json.field("keys", tls.tickets.keys.count)
      json.field("newest_key_age_sec", max(0, Time.milliseconds - tls.tickets.madeAt) / 1000)
    }
  }
}
