// Identity — whom a process runs as: names to numbers, and giving root up for good.

import CLinux

/// Why an identity could not be found or taken.
public enum IdentityError: Error, Equatable {
  case unknownUser(String)
  case unknownGroup(String)
  case system(String, Errno)

  public var text: String {
    switch self {
    case .unknownUser(let name): "user \"\(name)\" does not exist"
    case .unknownGroup(let name): "group \"\(name)\" does not exist"
    case .system(let what, let error): "cannot \(what): \(error.text)"
    }
  }
}

/// A user and a group by number, with the user's name for its supplementary groups.
public struct Identity: Equatable, Sendable {
  public let userName: String
  public let user: UInt32
  public let group: UInt32

  /// Looks the names up. An empty user keeps the one we are; an empty group means the user's own.
  /// nil when both are empty: nothing is to change.
  public static func named(user: String, group: String) throws(IdentityError) -> Identity? {
    if user.isEmpty, group.isEmpty { return nil }
    var uid = geteuid()
    var gid = getegid()
    if !user.isEmpty {
      switch unsafe clx_user(user, &uid, &gid) {
      case 0: break
      case 1: throw .unknownUser(user)
      default: throw .system("look up user \"\(user)\"", .current)
      }
    }
    if !group.isEmpty {
      switch unsafe clx_group(group, &gid) {
      case 0: break
      case 1: throw .unknownGroup(group)
      default: throw .system("look up group \"\(group)\"", .current)
      }
    }
    return Identity(userName: user, user: uid, group: gid)
  }

  /// Becomes this identity: supplementary groups, group, user. There is no way back.
  public func assume() throws(IdentityError) {
    let result = userName.isEmpty ? clx_become(nil, user, group) : unsafe clx_become(userName, user, group)
    guard result == 0 else { throw .system("become user \(user), group \(group)", .current) }
  }
}
