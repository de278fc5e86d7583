! SPDX-License-Identifier: BSD-3-Clause
! Open MPI's own Fortran bindings: attributes and their functions, reductions, handles as integers,
! constants that are addresses, an error handler.
module counters
  integer :: copies = 0, deletions = 0, errors = 0
end module

program fortran
  use mpi
  implicit none
  integer :: ierr, rank, ranks, total, mine, key, dup, op, eh, two, code
  integer :: status(MPI_STATUS_SIZE), pair(2), got(2), right, left, requests(2), all(MPI_STATUS_SIZE, 2)
  integer(kind=MPI_ADDRESS_KIND) :: value, extra
  integer :: world, alone, others, turn, info, type_key, twin
  character(len=24) :: text
  logical :: flag
  external add, copy, delete, handler
  call run()
contains
subroutine run()
  use counters
  call MPI_Init(ierr)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierr)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierr)
  right = mod(rank + 1, ranks)
  left = mod(rank + ranks - 1, ranks)

  extra = 5
  call MPI_Comm_create_keyval(copy, delete, key, extra, ierr)
  value = 77 + rank
  call MPI_Comm_set_attr(MPI_COMM_WORLD, key, value, ierr)
  call MPI_Comm_dup(MPI_COMM_WORLD, dup, ierr)
  value = 0
  call MPI_Comm_get_attr(dup, key, value, flag, ierr)
  print *, rank, 'attribute', value, flag
  call MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, value, flag, ierr)
  print *, rank, 'tag', value > 32766, flag

  call MPI_Op_create(add, .true., op, ierr)
  call MPI_Allreduce(rank + 1, total, 1, MPI_INTEGER, op, dup, ierr)
  print *, rank, 'total', total
  call MPI_Allreduce(MPI_IN_PLACE, total, 1, MPI_INTEGER, MPI_SUM, dup, ierr)
  print *, rank, 'in place', total

  mine = rank + 1
  call MPI_Iallreduce(mine, total, 1, MPI_INTEGER, op, dup, requests(1), ierr)
  call MPI_Op_free(op, ierr)
  call MPI_Wait(requests(1), MPI_STATUS_IGNORE, ierr)
  print *, rank, 'later', total, op == MPI_OP_NULL

  call MPI_Type_contiguous(2, MPI_INTEGER, two, ierr)
  call MPI_Type_commit(two, ierr)
  pair = (/ rank, 10 * rank /)
  call MPI_Irecv(got, 1, two, left, 9, dup, requests(1), ierr)
  call MPI_Isend(pair, 1, two, right, 9, dup, requests(2), ierr)
  call MPI_Waitall(2, requests, all, ierr)
  print *, rank, 'pair', got, all(MPI_SOURCE, 1), all(MPI_TAG, 1), requests(1) == MPI_REQUEST_NULL
  call MPI_Sendrecv(pair, 1, two, right, 3, got, 1, two, left, 3, dup, status, ierr)
  print *, rank, 'status', status(MPI_SOURCE), status(MPI_TAG)
  call MPI_Type_free(two, ierr)

  ! What the bindings read in our handles without asking.
  call MPI_Comm_group(MPI_COMM_WORLD, world, ierr)
  call MPI_Group_incl(world, 1, (/ rank /), alone, ierr)
  call MPI_Group_size(alone, ranks, ierr)
  call MPI_Group_difference(world, alone, others, ierr)
  call MPI_Group_size(others, mine, ierr)
  print *, rank, 'groups', ranks, mine
  call MPI_Group_free(others, ierr)
  call MPI_Group_free(alone, ierr)
  call MPI_Group_free(world, ierr)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierr)

  call MPI_Recv_init(got, 2, MPI_INTEGER, left, 4, dup, requests(1), ierr)
  call MPI_Send_init(pair, 2, MPI_INTEGER, right, 4, dup, requests(2), ierr)
  do turn = 1, 3
    pair = (/ rank, turn /)
    call MPI_Startall(2, requests, ierr)
    if (turn == 2) then
      call MPI_Waitall(2, requests, all, ierr)
    else
      call MPI_Wait(requests(2), status, ierr)
      call MPI_Wait(requests(1), status, ierr)
    end if
    print *, rank, 'turn', got
  end do
  call MPI_Request_free(requests(1), ierr)
  call MPI_Request_free(requests(2), ierr)

  call MPI_Info_create(info, ierr)
  call MPI_Info_set(info, 'colour', 'green', ierr)
  call MPI_Info_get(info, 'colour', 10, text, flag, ierr)
  print *, rank, 'info ', text, flag
  call MPI_Info_get(info, 'size', 10, text, flag, ierr)
  print *, rank, 'none', flag
  call MPI_Info_get_nthkey(info, 0, text, ierr)
  call MPI_Info_get_valuelen(info, 'colour', mine, flag, ierr)
  print *, rank, 'key ', text, mine
  call MPI_Info_free(info, ierr)

  call MPI_Type_create_keyval(MPI_TYPE_DUP_FN, MPI_TYPE_NULL_DELETE_FN, type_key, extra, ierr)
  call MPI_Type_contiguous(3, MPI_INTEGER, two, ierr)
  value = 12
  call MPI_Type_set_attr(two, type_key, value, ierr)
  call MPI_Type_dup(two, twin, ierr)
  value = 0
  call MPI_Type_get_attr(twin, type_key, value, flag, ierr)
  print *, rank, 'of a type', value, flag
  call MPI_Type_free(two, ierr)
  call MPI_Type_free(twin, ierr)
  call MPI_Type_free_keyval(type_key, ierr)
  call MPI_Type_match_size(MPI_TYPECLASS_INTEGER, 8, two, ierr)
  call MPI_Type_match_size(MPI_TYPECLASS_COMPLEX, 16, twin, ierr)
  call MPI_Type_get_name(two, text, mine, ierr)
  call MPI_Type_size(twin, total, ierr)
  print *, rank, 'matched', index(text, 'INT') > 0, total

  call MPI_Comm_create_errhandler(handler, eh, ierr)
  call MPI_Comm_set_errhandler(dup, eh, ierr)
  call MPI_Send(pair, 1, MPI_INTEGER, 1000, 0, dup, code)
  print *, rank, 'errors', errors, code /= MPI_SUCCESS
  call MPI_Errhandler_free(eh, ierr)

  call MPI_Comm_free(dup, ierr)
  call MPI_Comm_delete_attr(MPI_COMM_WORLD, key, ierr)
  call MPI_Comm_free_keyval(key, ierr)
  print *, rank, 'copies', copies, 'deletions', deletions, key == MPI_KEYVAL_INVALID
  call MPI_Finalize(ierr)
end subroutine
end program

subroutine add(a, b, length, type)
  use mpi
  integer :: length, type, i, a(length), b(length)
  if (type /= MPI_INTEGER) print *, 'wrong type', type
  do i = 1, length
    b(i) = a(i) + b(i)
  end do
end subroutine

subroutine copy(comm, key, extra, in, out, flag, ierr)
  use mpi
  use counters
  integer :: comm, key, ierr
  integer(kind=MPI_ADDRESS_KIND) :: extra, in, out
  logical :: flag
  if (comm /= MPI_COMM_WORLD) print *, 'copied from', comm
  copies = copies + 1
  out = in + extra
  flag = .true.
  ierr = MPI_SUCCESS
end subroutine

subroutine delete(comm, key, value, extra, ierr)
  use mpi
  use counters
  integer :: comm, key, ierr
  integer(kind=MPI_ADDRESS_KIND) :: value, extra
  if (extra /= 5) print *, 'extra', extra
  deletions = deletions + 1
  ierr = MPI_SUCCESS
end subroutine

subroutine handler(comm, code)
  use counters
  integer :: comm, code
  errors = errors + 1
end subroutine
